"""The contract of a target."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import pyarrow as pa

from ...schemas.model.ledger import Account, Commit, Ledger, TopicPartition
from ...schemas.model.table import Table


@dataclass(frozen=True, slots=True)
class Staged:
    """Rows of one table that a worker has put where `commit` finds them; nothing is visible yet."""

    table: Table
    uri: str
    rows: int


@dataclass(frozen=True, slots=True)
class TableSnapshot:
    """A table at one moment: its ledger and its rows belong together, whatever is committed meanwhile.

    `there`: whether there is such a table. `ledger` (job, partitions) and `scan` (columns) answer as those of the sink
    do, as often as they are asked, one after the other.
    """

    there: bool
    ledger: Callable[[str, Sequence[TopicPartition]], Ledger]
    scan: Callable[[Sequence[str] | None], Iterator[pa.RecordBatch]]


class Sink(Protocol):
    """A target of tables that are kept equal to a change stream.

    Every row keeps the position that wrote it, and a change with a smaller or equal position is never
    applied; a delete keeps its position as a tombstone. So `commit` may be retried, and windows may arrive
    in any order. A sink is opened in one worker by `open_sink` and closed by `close`; it is not shared
    between threads. The modes of `schemas.model.modes` stand above the sinks: each is a table of other columns and
    another key. What a sink is made of and cannot do is in its `SinkSpec`.
    """

    def stage(self, table: Table, delta: pa.RecordBatch) -> Staged:
        """Put one row a key (columns: `schemas.model.change`) where `commit` finds it. Repeatable; shows nothing."""

    def commit(self, table: Table, staged: Sequence[Staged], commit: Commit) -> tuple[Account, ...]:
        """Apply all staged rows, the truncate and the ledger in one transaction; the full accounts.

        Creates the table where it does not exist, and lets it grow (`schemas.model.table.grow`). Deltas of
        different `staged` hold different keys. Atomic; repeated with the same arguments it changes nothing
        but may report rows as superseded. The accounts are checked before anything
        becomes visible. `shared.commit.commit_changes` does all of this over a target's few verbs.
        The ledger's next offset of each partition becomes `account.stop`; where the ledger is already
        beyond `account.first`, or before it, LedgerGapError or the sink's own guard decides: a smaller
        `next` than `account.first` raises LedgerGapError, a larger one is left as it is.
        Raises IncompatibleSchemaError, TransientSinkError, TerminalSinkError.
        """

    def ledger(self, job: str, table: str, partitions: Sequence[TopicPartition]) -> Ledger:
        """The job's next offset of each of these partitions, where the table has one, and the table's last truncate.

        Offsets are kept by job: two jobs may fill one table from topics of the same name in two clusters.
        """

    def scan(self, table: str, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Every live row, without Millrace's columns unless named. Raises TableError where there is no table."""

    def snapshot(self, table: str) -> AbstractContextManager[TableSnapshot]:
        """The table as it is now, for as long as the context is open; a table that is not there has no ledger entry.

        Nothing else may be asked of the sink meanwhile. Raises SinkError.
        """

    def tables(self) -> tuple[str, ...]:
        """Names of the tables that Millrace keeps here."""

    def describe(self, table: str) -> str:
        """Where a person finds the table, as one line that can be typed or opened."""

    def close(self) -> None:
        """Let go of files and connections. Staged rows that no commit took are removed."""


@runtime_checkable
class Maintained(Protocol):
    """A sink whose tables need maintenance: it does some in its commits, and all of it when it is told."""

    def maintain(self, table: str) -> Mapping[str, int]:
        """Do all that is worth doing: what it did, by name (`rewritten` and `deleted` files).

        No row changes, and nothing that a reader may be using is deleted. Raises TableError, SinkError.
        """


@runtime_checkable
class Resting(Protocol):
    """A sink that keeps others out while it is open, and can let them in between two uses."""

    def rest(self) -> None:
        """Let go of the target until the next use; nothing may be under way."""
