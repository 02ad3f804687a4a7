"""Blocks to changes, sent to the shard of their key; counts and dead letters to the commit of their table."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.transforms.window import GlobalWindow, TimestampedValue
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from ...schemas.envelopes.decoded import Decoded
from ...schemas.errors import MillraceError
from ...schemas.merging.renaming import of_table
from ...schemas.model.block import Block
from ...schemas.model.change import SOURCE, TIME
from ...schemas.model.dead_letter import DeadLetter
from ...schemas.model.key import shard
from ...schemas.model.ledger import OffsetRange
from ...schemas.model.modes import VERSION
from ...schemas.model.route import Route
from ...schemas.model.source_mark import SourceMark
from .arrow_errors import told_of
from .block_decoders import BlockDecoder, BlockDecoders
from .early_merge import EarlyMerge, marked, superseded_before, table_key

RECEIPTS: Final = "receipts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What one block came to, for the accounts of its table's commit: `changes` of `size` bytes went to the shuffle.

    `mark` is what it says of its source. `other` says what messages are that are no changes of any table.

    Each of several tables that one topic fills writes the dead `letters` before its commit: reading gives them once.
    """

    span: OffsetRange
    read: int
    changes: int
    size: int
    filtered: int
    truncates: int
    truncate: bytes | None
    letters: tuple[DeadLetter, ...]
    mark: SourceMark = field(default_factory=SourceMark)
    other: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a table cannot be committed in this window; nothing of it is."""

    table: str
    error: MillraceError


class Decode(beam.DoFn):
    """Block to ((table, shard), changes), and (table, Receipt or Failure) as `RECEIPTS`.

    Changes bear the time stamp of their block; with `every` (milliseconds) they are cut by their own time, and
    stamped with the start of their window. Those of a bundle are gathered first (see `gather`).
    """

    def __init__(
        self, routes: Mapping[str, Route], decoders: BlockDecoders, shards: int = 1, every: int | None = None
    ) -> None:
        self._routes, self._decoders, self._shards, self._every = dict(routes), decoders, shards, every
        self._by_topic: dict[str, BlockDecoder] = {}

    def start_bundle(self) -> None:
        self._gathering = EarlyMerge()

    def process(self, block: Block, time: Any = beam.DoFn.TimestampParam) -> Iterator[Any]:
        route = self._routes[block.topic]
        try:
            done = self._decoder(block.topic, route)(block)
        except MillraceError as error:
            for part in route.tables:
                yield beam.pvalue.TaggedOutput(RECEIPTS, (part.table, Failure(part.table, error)))
            return
        for part in route.tables:
            try:
                mine = for_table(part, done)
            except MillraceError as error:
                yield beam.pvalue.TaggedOutput(RECEIPTS, (part.table, Failure(part.table, error)))
                continue
            yield beam.pvalue.TaggedOutput(RECEIPTS, (part.table, receipt(mine)))
            for changes in mine.changes:
                for stamp, piece in by_window(changes, self._every):
                    at = float(time) if stamp is None else stamp
                    self._gathering.add(part.table, mine.key, at, piece, mine.falls)
        for table, stamp, changes in self._gathering.full():
            for number, piece in by_shard(changes, self._shards):
                yield TimestampedValue(((table, number), piece), stamp)

    def finish_bundle(self) -> Iterator[Any]:
        for table, stamp, changes in self._gathering.all():
            for number, piece in by_shard(changes, self._shards):
                yield WindowedValue(((table, number), piece), Timestamp.of(stamp), (GlobalWindow(),))

    def _decoder(self, topic: str, route: Route) -> BlockDecoder:
        if topic not in self._by_topic:
            self._by_topic[topic] = self._decoders.decoder(topic, route)
        return self._by_topic[topic]


def for_table(route: Route, done: Decoded) -> Decoded:
    """What a block brings to one table, under the names that it has there. Raises TableError."""
    with told_of(route.table, f"naming the columns of {done.topic}[{done.partition}] from offset {done.first} on"):
        return of_table(route, done)


def receipt(done: Decoded) -> Receipt:
    """The receipt of a decoded block; changes with source -1 are not counted."""
    return Receipt(
        span=OffsetRange(done.topic, done.partition, done.first, done.stop),
        read=done.read,
        changes=sum(int((np.asarray(batch.column(SOURCE)) >= 0).sum()) for batch in done.changes),
        size=sum(batch.nbytes for batch in done.changes),
        filtered=done.filtered,
        truncates=done.truncates,
        truncate=done.truncate,
        letters=tuple(done.letters),
        mark=done.mark,
        other=done.other,
    )


def by_window(changes: pa.RecordBatch, every: int | None) -> Iterator[tuple[float | None, pa.RecordBatch]]:
    """The changes cut by windows of `every` milliseconds of their own time, with each window's start in seconds.

    A time later than this worker's clock counts as now, and one before 1970 as unknown (-1): a producer that writes
    another unit than milliseconds makes windows that no runner's clock can hold.
    """
    if every is None:
        yield None, changes.drop_columns([TIME]) if TIME in changes.schema.names else changes
        return
    windows = np.clip(np.asarray(changes.column(TIME)), -1, time.time_ns() // 1_000_000) // every
    changes = changes.drop_columns([TIME])
    for window in np.unique(windows):
        yield int(window) * every / 1000, changes.take(pa.array(np.flatnonzero(windows == window)))


def by_shard(changes: pa.RecordBatch, shards: int) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The changes cut by the hash of their key; all versions of a row go to one shard."""
    if shards == 1:
        yield 0, changes
        return
    # A key is a set of named columns: their order in the message does not decide where the row goes.
    names = sorted((name for name in table_key(changes) if name != VERSION), key=str.casefold)
    numbers = shard([changes.column(name) for name in names], shards)
    key, before = table_key(changes), superseded_before(changes)
    for number in np.unique(numbers):
        piece = changes.take(pa.array(np.flatnonzero(numbers == number)))
        yield int(number), marked(piece, key, before)
        before = {}
