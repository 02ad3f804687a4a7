"""Targets: the contract, and the registry of those that keep it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final, Protocol, runtime_checkable

import pyarrow as pa

from ...schemas.errors import JobError
from ...schemas.model.ledger import Account, Commit, Ledger, TopicPartition
from ...schemas.model.modes import Mode
from ...schemas.model.table import Table


@dataclass(frozen=True, slots=True)
class Staged:
    """Rows of one table that a worker has put where `commit` finds them; nothing is visible yet."""

    table: Table
    uri: str
    rows: int


class Sink(Protocol):
    """A target of tables that are kept equal to a change stream.

    Every row keeps the position that wrote it, and a change with a smaller or equal position is never
    applied; a delete keeps its position as a tombstone. So `commit` may be retried, and windows may arrive
    in any order. A sink is opened in one worker by `open_sink` and closed by `close`; it is not shared
    between threads. The modes of `schemas.modes` stand above the sinks: each is a table of other columns and another
    key. A class that cannot keep them all says which it can, the default first, in its attribute `MODES`.
    """

    def stage(self, table: Table, delta: pa.RecordBatch) -> Staged:
        """Put one row a key (`schemas.change` columns) where `commit` finds it. May be repeated; shows nothing."""

    def commit(self, table: Table, staged: Sequence[Staged], commit: Commit) -> tuple[Account, ...]:
        """Apply all staged rows, the truncate and the ledger in one transaction; the settled accounts.

        Creates the table where it does not exist, and lets it grow (`schemas.table.grow`). Deltas of
        different `staged` hold different keys. Atomic; repeated with the same arguments it changes nothing
        but may report rows as superseded. `commit.settle` is called before anything becomes visible.
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


SINKS: Final[Mapping[str, str]] = {
    "bigquery": ".bigquery.sink:BigQuerySink",
    "delta": ".delta.sink:DeltaSink",
    "duckdb": ".duckdb.sink:DuckDBSink",
    "files": ".files.sink:FilesSink",
    "postgres": ".postgres.sink:PostgresSink",
    "iceberg": ".iceberg.sink:IcebergSink",
}


def sink_class(kind: str) -> Any:
    """The class behind a `target.type`; raises JobError with the known types."""
    if kind not in SINKS:
        raise JobError(f"target.type: {kind!r} is not a target; known are {', '.join(sorted(SINKS))}")
    module, name = SINKS[kind].split(":")
    return getattr(import_module(module, __name__), name)


def modes_of(kind: str) -> tuple[Mode, ...]:
    """The modes that a target can keep tables in, its default first; raises JobError for an unknown target."""
    return tuple(getattr(sink_class(kind), "MODES", tuple(Mode)))


def open_sink(kind: str, options: Mapping[str, Any]) -> Sink:
    """Open the target with the options of the job file's `target`, `type` left out."""
    sink: Sink = sink_class(kind)(**options)
    return sink
