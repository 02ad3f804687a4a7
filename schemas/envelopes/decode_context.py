"""One block of messages while it is decoded: its route, and what became of the messages so far."""

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..encodings.message_reader import Failures
from ..model.message_batch import MessageBatch
from ..model.position import Numbers
from ..model.route import OnTwoSources, OrderBy, Route
from ..model.snapshot_marks import ROWS, SnapshotMark
from ..model.table_types import TableTypes, fitting
from .decoded import Decoded
from .envelope import Envelope
from .key_columns import KeyedRows
from .tombstones import TombstoneContext


@dataclass(frozen=True, slots=True)
class DecodeContext:
    """One block while it is decoded."""

    route: Route
    envelope: Envelope
    messages: MessageBatch
    failures: Failures
    done: Decoded
    places: TombstoneContext
    unordered: list[tuple[int, NDArray[np.int64], NDArray[np.bool_]]] = field(default_factory=list)
    """The changes that their place in the log orders: number among `done.changes`, their messages, which of them."""
    message_key: Callable[[], Set[str]] = frozenset
    """The fields of the messages' keys."""
    sources: set[str] = field(default_factory=set)
    """The names of the sources that the changes are of, as `SourceMark.sources` has them."""
    tables: dict[str, int] = field(default_factory=dict)
    """The source's tables, each with the number of its first message."""
    types: TableTypes | None = None
    """The types of the table's columns, where values of others are dead letters."""

    @property
    def source(self) -> int:
        return self.route.number(self.messages.topic, self.messages.partition)

    @property
    def by_time(self) -> bool:
        """Whether the messages' own time orders the changes, and nothing else."""
        return self.route.order_by is OrderBy.TIMESTAMP

    @property
    def by_clock(self) -> bool:
        """Whether the sources' clocks order the changes first."""
        return self.route.on_two_sources is OnTwoSources.NEWEST_TIME

    def note_tables(self, rows: NDArray[np.int64], tables: pa.DictionaryArray | None, mask: NDArray[np.bool_]) -> None:
        """The source's table of those of these messages that the mask has, where the envelope tells it."""
        if tables is not None:
            rows, tables = rows[mask], tables.filter(pa.array(mask))
            numbers, first = np.unique(np.asarray(tables.indices), return_index=True)
            for name, row in zip(tables.dictionary.take(pa.array(numbers)).to_pylist(), rows[first], strict=True):
                self.tables[name] = min(int(row), self.tables.get(name, int(row)))

    def first_tables(self) -> dict[str, SnapshotMark]:
        """Where the changes of each table of the source begin among these messages."""
        places = ((name, int(self.messages.offset[row]), row) for name, row in self.tables.items())
        return {name: SnapshotMark(ROWS, at, int(self.messages.timestamp[row])) for name, at, row in places}

    def moment(self, rows: NDArray[np.int64]) -> Numbers:
        """The messages' time in milliseconds as a source order; an unknown one, -1, is the oldest."""
        return np.maximum(self.messages.timestamp[rows], 0).astype(np.uint64), np.zeros(len(rows), np.uint64)

    def misfits(self, key: Sequence[str], found: KeyedRows, schema_id: int | None) -> NDArray[np.bool_]:
        """The rows with a value that the table's column cannot hold; they go to the dead letters."""
        if self.types is None:
            return np.zeros(len(found.rows), np.bool_)
        columns, _ = self.envelope.blank_unavailable(found.columns)
        checked = fitting(self.types, key, columns, len(found.rows))
        refused: NDArray[np.bool_] = checked.refused & ~found.deletes
        self.failures.add_all(found.rows[refused], "apply", checked.reason, schema_id)
        return refused

    def time(self, rows: NDArray[np.int64]) -> NDArray[np.int64] | None:
        return self.messages.timestamp[rows] if self.route.timed else None
