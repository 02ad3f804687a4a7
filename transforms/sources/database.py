"""What a source that is a database offers beyond the contract of `source`: protocols that its parts may keep."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ...schemas.envelopes.topic_columns import TopicColumns
from ...schemas.model.block import Block
from ...schemas.model.ledger import OffsetRange, TopicPartition
from ...schemas.model.route import Route
from .source import TypedSource


class DatabaseSource(TypedSource, Protocol):
    """A database. Its blocks are records as `log_records` writes them."""

    # Compiled loops take most of a second to import: what cuts no block does without them.
    def cut(self, block: Block, starts: Sequence[int]) -> list[Block]:
        from .log_records import cut_block

        return cut_block(block, starts)

    def times(self, block: Block) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        from .log_records import record_times

        return record_times(block)


class Advice(NamedTuple):
    """`level`: ok, warn or fail; `fix` is a statement, or empty."""

    level: str
    what: str
    said: str
    fix: str = ""


@runtime_checkable
class PassLimiter(Protocol):
    """A connection to a source whose offsets do not tell how much there is to read, as LSNs."""

    def pass_stop(self, partition: TopicPartition, first: int, end: int) -> int:
        """Where a pass that begins at `first` ends, so that it is neither large nor tiny; at most `end`."""


@runtime_checkable
class Confirming(Protocol):
    """A connection to a source that keeps its log for the job, until it is told that nobody needs it any more."""

    def prepare(self, next: Mapping[TopicPartition, int]) -> bool:
        """Make what reading from these offsets on needs; whether anything was made, so that the log begins now.

        Raises JobError with the statement that helps, LostOffsetsError where the log is not kept any more.
        """

    def confirm(self, reached: Mapping[TopicPartition, int]) -> None:
        """The ledgers of all tables of the job hold everything before these offsets. Raises SourceError."""


@runtime_checkable
class KeepsLog(Protocol):
    """A connection to a source where something is made that keeps its log for the job."""

    def make(self, topics: Sequence[str]) -> Sequence[str]:
        """Make it, as the first run of these topics would; sentences on what was there and what was made."""

    def drop(self) -> Sequence[str]:
        """Drop it: the log is free. Raises SourceError where a run reads it."""

    def kept(self) -> Sequence[Advice]:
        """What it is called, and how much of the log it holds back. Raises SourceError."""


@runtime_checkable
class Advising(Protocol):
    """A connection that tells what has to be set at the source before these topics can be read."""

    def advice(self, topics: Sequence[str]) -> Sequence[Advice]:
        """All findings; asks, and changes nothing. Raises SourceError."""


@runtime_checkable
class KnowsTables(Protocol):
    """A connection that tells the columns which changes of a table would have now, before there is one."""

    def columns(self, topic: str, route: Route) -> TopicColumns:
        """By the source's own catalog. Raises SourceError, SchemaError, IncompatibleSchemaError."""


class CopyProgress(NamedTuple):
    """How many rows of a table are copied, and about how many there are; 0 where that is not known."""

    topic: str
    rows: int
    total: int


@runtime_checkable
class TellsCopies(Protocol):
    """A connection to a source that copies tables, of whose rows offsets do not tell."""

    def copies(self, reached: Mapping[TopicPartition, int]) -> Sequence[CopyProgress]:
        """Of those that have come to these offsets the ones whose copy goes on. Raises SourceError."""


@runtime_checkable
class ReadsAhead(Protocol):
    """A connection to a source that may begin to read before it is asked."""

    def begin_pass(self, ranges: Sequence[OffsetRange]) -> None:
        """The next pass covers these ranges; those of the pass before are read."""


@runtime_checkable
class Repeating(Protocol):
    """A connection to a source that may read all rows anew in each run, so that nothing waits behind its last round."""

    @property
    def repeats(self) -> bool:
        """Whether it does."""

    def unread(self, offset: int) -> int:
        """How many offsets a round lacks that was begun before this offset; 0 where it has ended."""


class RowsAtMoment(Protocol):
    """One table of a database at one moment, for the proof."""

    @property
    def key(self) -> tuple[str, ...]:
        """The columns of the primary key; none where there is none."""

    @property
    def columns(self) -> Mapping[str, Any]:
        """By name the columns."""

    def rows(self) -> Iterator[Mapping[str, Any]]:
        """Plain Python values by column: dates and times as ISO 8601, durations as timedelta. Raises SourceError.

        Each call gives all rows anew, of the same moment.
        A value that no target's type has is None, and its text stands under `text_name` of its column.
        """

    def ahead(self, since: int) -> int:
        """How many changes of the table the log has from this offset on. Raises SourceError."""


@runtime_checkable
class KeepsRows(Protocol):
    """A source that can be asked for its rows; it shares nothing with the reading of blocks."""

    def rows(self, topic: str) -> AbstractContextManager[RowsAtMoment]:
        """One table at one moment. Raises SourceError, JobError."""
