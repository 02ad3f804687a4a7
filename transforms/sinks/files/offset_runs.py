"""The rows of a commit by stream, in the order of their offsets."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ....schemas.errors import AccountingError, TableError
from ....schemas.model.change import SOURCE
from ....schemas.model.ledger import Commit, TopicPartition
from ....schemas.model.modes import OFFSET, PARTITION, TIMESTAMP, TOPIC
from ..shared.commit import Counts
from ..shared.ledger import PartitionEntry
from .names import NO_DATE, Stream


@dataclass(frozen=True, slots=True)
class Run:
    """The rows of one stream, in the order of their offsets; `days` since 1970, NO_DATE for no time."""

    stream: Stream
    rows: pa.Table
    offsets: NDArray[np.int64]
    days: NDArray[np.int32]


def runs_of(commit: Commit, rows: pa.Table) -> Iterator[Run]:
    """The rows by stream. Raises TableError where the commit covers no offsets of them."""
    topics = rows.column(TOPIC).combine_chunks().dictionary_encode()
    partitions = np.asarray(rows.column(PARTITION)).astype(np.int64)
    codes = np.asarray(topics.indices).astype(np.int64) << 32 | partitions
    found, numbers = np.unique(codes, return_inverse=True)
    order = np.argsort(numbers.astype(np.uint16 if len(found) < 1 << 16 else np.int64), kind="stable")
    borders = np.searchsorted(numbers[order], np.arange(len(found) + 1))
    offsets = np.asarray(rows.column(OFFSET))
    times = rows.column(TIMESTAMP).cast(pa.date32()).cast(pa.int32())
    days = np.asarray(pc.fill_null(times, pa.scalar(NO_DATE, pa.int32()))).astype(np.int32)
    for number, code in enumerate(found.tolist()):
        mine = order[borders[number] : borders[number + 1]]
        if (np.diff(offsets[mine]) < 0).any():
            mine = mine[np.argsort(offsets[mine], kind="stable")]
        stream = Stream(commit.job, topics.dictionary[code >> 32].as_py(), code & 0xFFFFFFFF)
        _check_covered(commit, stream, offsets[mine])
        yield Run(stream, rows.take(pa.array(mine)), offsets[mine], days[mine])


def _check_covered(commit: Commit, stream: Stream, offsets: NDArray[np.int64]) -> None:
    account = next(
        (part for part in commit.accounts if (part.topic, part.partition) == (stream.topic, stream.partition)), None
    )
    if account is None or account.stop < 0:
        raise TableError(
            f"a change log is written in the order of offsets, and a commit holds changes of {stream.topic}"
            f"[{stream.partition}] without them: set window.by: arrival"
        )
    if offsets[-1] >= account.stop:
        raise AccountingError(
            f"{account.source}: a change at offset {offsets[-1]} lies beyond the commit's end, {account.stop}; nothing "
            "was committed"
        )


def counts(runs: Sequence[Run], entries: Mapping[TopicPartition, PartitionEntry]) -> Counts:
    """By source number; what the ledger has already is superseded."""
    applied: Counter[int] = Counter()
    superseded: Counter[int] = Counter()
    for run in runs:
        entry = entries.get(TopicPartition(run.stream.topic, run.stream.partition))
        old = int(np.searchsorted(run.offsets, (entry.next if entry is not None else None) or 0))
        sources = np.asarray(run.rows.column(SOURCE))
        for counter, part in ((superseded, sources[:old]), (applied, sources[old:])):
            numbers, rows = np.unique(part[part >= 0], return_counts=True)
            counter.update(dict(zip(numbers.tolist(), rows.tolist(), strict=True)))
    return Counts(applied, superseded)
