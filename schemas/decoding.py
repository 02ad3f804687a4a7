"""From a block to changes: the seam between message formats and the steps that follow."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .block import Block
from .change import CHANGE_FIELDS, MOVED, MOVED_TYPE, POSITION_TYPE, TIME, UNAVAILABLE, UNAVAILABLE_TYPE
from .dead_letter import DeadLetter
from .ledger import TopicPartition
from .modes import Mode


class OnTruncate(StrEnum):
    """What a TRUNCATE in the stream does to its table."""

    FAIL = "fail"
    APPLY = "apply"
    IGNORE = "ignore"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where the changes of a topic go: the table, its key where the job names one, and all topics of that table.

    `sources` are the partitions known when the job was built; others of the same topics may come later. With
    `event_time` the changes carry their own time (`_millrace_time`): the record's timestamp. `copies` are further
    tables that the same changes fill, each in a mode of its own, and each a `copy`: its messages count once.
    """

    table: str
    key: tuple[str, ...] | None = None
    on_truncate: OnTruncate = OnTruncate.FAIL
    sources: tuple[TopicPartition, ...] = ()
    event_time: bool = False
    mode: Mode = Mode.MIRROR
    copies: tuple["Route", ...] = ()
    copy: bool = False

    @property
    def tables(self) -> tuple["Route", ...]:
        """The route of each table, its own first."""
        return (self, *self.copies)

    @property
    def timed(self) -> bool:
        """Whether a table's window or mode needs the changes' own time."""
        return self.event_time or any(part.mode is not Mode.MIRROR for part in self.tables)

    @property
    def topics(self) -> tuple[str, ...]:
        """The table's topics, in order."""
        return tuple(sorted({source.topic for source in self.sources}))

    def number(self, topic: str, partition: int) -> int:
        """The `_millrace_source` of a partition, the same on every worker, whether it is among `sources` or not."""
        topics = self.topics
        return partition * len(topics) + topics.index(topic)

    def source(self, number: int) -> TopicPartition:
        """The partition of a `_millrace_source`."""
        partition, place = divmod(number, len(self.topics))
        return TopicPartition(self.topics[place], partition)


@dataclass(slots=True)
class Decoded:
    """What one block came to. `read` is the sum of the changes that count, `filtered`, `truncates` and dead letters.

    `emptied` are the TRUNCATEs as changes without a row, for tables whose mode keeps them.
    """

    topic: str
    partition: int
    first: int
    stop: int
    key: tuple[str, ...] = ()
    changes: list[pa.RecordBatch] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)
    read: int = 0
    filtered: int = 0
    truncates: int = 0
    truncate: bytes | None = None
    emptied: list[pa.RecordBatch] = field(default_factory=list)


class BlockDecoder(Protocol):
    """Decodes the blocks of one topic."""

    def decode(self, block: Block) -> Decoded:
        """Changes, counts and dead letters; raises RegistryError, TruncateError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """Millrace's columns of a batch, before they are Arrow; `unavailable` and `moved` by row, or None."""

    op: NDArray[np.int8]
    position: pa.Array
    source: int
    unavailable: pa.Array | None = None
    moved: pa.Array | None = None
    time: NDArray[np.int64] | None = None


def change_batch(columns: dict[str, pa.Array], marks: Marks) -> pa.RecordBatch:
    """A batch of changes (`schemas.change`) from the row's columns and Millrace's own.

    A stream's own column whose name begins with `_millrace_` is refused by the sinks, not here.
    """
    count = len(marks.op)
    arrays = [*columns.values(), pa.array(marks.op), marks.position, pa.array(np.full(count, marks.source, np.int32))]
    fields = [pa.field(name, array.type) for name, array in columns.items()] + list(CHANGE_FIELDS)
    for name, kind, array in (
        (UNAVAILABLE, UNAVAILABLE_TYPE, marks.unavailable),
        (MOVED, MOVED_TYPE, marks.moved),
        (TIME, pa.int64(), None if marks.time is None else pa.array(marks.time)),
    ):
        if array is not None:
            fields.append(pa.field(name, kind))
            arrays.append(array)
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


def take_positions(position: pa.Array, rows: NDArray[np.int64]) -> pa.Array:
    """Positions of `rows`, by a plain gather of 24-byte numbers."""
    raw = np.frombuffer(position.buffers()[1], np.dtype("V24"), len(position), position.offset * 24)
    return pa.Array.from_buffers(POSITION_TYPE, len(rows), [None, pa.py_buffer(raw[rows])])
