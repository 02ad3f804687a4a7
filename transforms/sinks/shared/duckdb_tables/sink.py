"""The contract of a target over tables behind a connection of DuckDB."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from datetime import timedelta
from functools import partial
from typing import Protocol

import pyarrow as pa

from .....schemas.errors import TableError, TransientSinkError
from .....schemas.model.ledger import Account, Commit, Ledger, TopicPartition
from .....schemas.model.table import Table, conform, selected
from ... import Staged, TableSnapshot
from ..commit import Conflict, TableChanges, commit_changes
from ..damage import dropped
from ..drift import InspectedTable
from ..resync import Swap
from ..staging import Staging
from . import catalog, drift, ledger, merge
from . import swap as swaps
from .catalog import BATCH_ROWS, Connection, quote, quoted
from .commit import DuckDBCommit


class Database(Protocol):
    """Where the tables are. Its errors are SinkErrors."""

    @property
    def place(self) -> str:
        """How errors name it."""

    @property
    def attempts(self) -> int:
        """How often a commit is tried where another writer's came first."""

    def check(self) -> None:
        """Raise TerminalSinkError where nothing can be written there, before rows are staged."""

    def transaction(self, changes: TableChanges) -> AbstractContextManager[Connection]:
        """A transaction for these changes: leaving it commits, an error undoes it. May raise Conflict."""

    def reading(self) -> AbstractContextManager[Connection | None]:
        """A connection to read by; None where there is nothing of Millrace yet."""

    def close(self) -> None:
        """Let go of it. It may be used again."""


class DuckDBTables:
    """Tables with the stream's columns (types: see `types`) and `_millrace_position`.

    A commit is one transaction of the database. Deletes are remembered for `retention`.
    """

    def __init__(self, database: Database, staging: Staging, retention: timedelta) -> None:
        self._database, self._staging, self._retention = database, staging, retention

    def stage(self, table: Table, delta: pa.RecordBatch) -> Staged:
        """Write the rows into an Arrow file in the staging folder. Raises TerminalSinkError."""
        self._database.check()
        return self._staging.put(table, delta)

    def commit(self, table: Table, staged: Sequence[Staged], commit: Commit) -> tuple[Account, ...]:
        """Apply rows, truncate and ledger in one transaction of DuckDB."""
        changes, place = TableChanges(table, staged, commit), self._database.place
        accounts = commit_changes(partial(self._transaction, changes), changes, place, self._database.attempts)
        self._staging.taken(staged)
        return accounts

    @contextmanager
    def _transaction(self, changes: TableChanges) -> Iterator[DuckDBCommit]:
        with self._database.transaction(changes) as con:
            yield DuckDBCommit(self._database.place, con, self._staging, self._retention, changes)

    def ledger(self, job: str, table: str, partitions: Sequence[TopicPartition]) -> Ledger:
        """The next offsets of these partitions; empty where there is no table yet."""
        with self._database.reading() as con:
            return _ledger(con, table, job, partitions)

    def scan(self, table: str, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The rows in batches of 65,536 or fewer, of the stream's own types. Raises TableError."""
        with self._database.reading() as con:
            cursor = None if con is None else con.cursor()
            try:
                yield from self._rows(cursor, table, columns)
            finally:
                if cursor is not None:
                    cursor.close()

    def _rows(
        self, con: Connection | None, table: str, columns: Sequence[str] | None = None
    ) -> Generator[pa.RecordBatch]:
        known = None if con is None else catalog.held(con, table).table
        if con is None or known is None:
            raise TableError(f"{self._database.place} has no table {table!r} of Millrace")
        schema = selected(self._database.place, known, columns)
        reader = con.sql(f"SELECT {quoted(schema.names)} FROM {quote(table)}").to_arrow_reader(BATCH_ROWS)
        # A result that is left open would keep its transaction from ending.
        with reader:
            for batch in reader:
                yield conform(batch, schema)

    @contextmanager
    def snapshot(self, table: str) -> Iterator[TableSnapshot]:
        """What one transaction of DuckDB sees."""
        with self._database.reading() as con, ExitStack() as undo:
            if con is not None:
                con.execute("BEGIN")
                undo.callback(con.execute, "ROLLBACK")
            there = con is not None and catalog.held(con, table).table is not None

            def rows(columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
                return undo.enter_context(closing(self._rows(con, table, columns)))

            yield TableSnapshot(there, partial(_ledger, con, table), rows)

    def columns(self, table: str) -> pa.Schema | None:
        """The table's columns, of the stream's own types."""
        with self._database.reading() as con:
            known = None if con is None else catalog.held(con, table).table
            return None if known is None else known.columns

    def inspect(self, table: str) -> InspectedTable:
        """The table, and what others changed in it."""
        with self._database.reading() as con:
            return InspectedTable() if con is None else drift.inspect(con, table)

    def rename(self, table: str, names: Mapping[str, str]) -> None:
        """ALTER TABLE in one transaction. Raises TransientSinkError where other writers are always faster."""
        self._alone(table, "", partial(self._rename, table, names))

    def _rename(self, table: str, names: Mapping[str, str], con: Connection) -> None:
        known = catalog.held(con, table).table
        due = {} if known is None else {old: new for old, new in names.items() if old in known.columns.names}
        if known is not None and due:
            catalog.rename(con, known, due, self._database.place)

    def jobs(self, table: str) -> tuple[str, ...]:
        """By `_millrace_ledger`."""
        with self._database.reading() as con:
            return () if con is None else swaps.jobs(con, table)

    def swap(self, swap: Swap) -> None:
        """DROP and RENAME, and the ledger, in one transaction."""
        self._alone(swap.table, swap.job, lambda con: swaps.swap(con, swap))

    def drop(self, table: str) -> None:
        """DROP in one transaction."""
        with self._database.reading() as con:
            there = con is not None
        if there:
            self._alone(table, "", lambda con: swaps.drop(con, table))

    def _alone(self, table: str, job: str, work: Callable[[Connection], None]) -> None:
        """A transaction that brings no rows. Raises TransientSinkError where other writers are always faster."""
        changes = TableChanges(Table(table, (), pa.schema([])), [], Commit(job, ()))
        for _ in range(self._database.attempts):
            try:
                with self._database.transaction(changes) as con:
                    work(con)
                return
            except Conflict:
                continue
        raise TransientSinkError(f"{self._database.place}: other writers were faster {self._database.attempts} times")

    def lookup(self, table: str, keys: pa.Table, columns: Sequence[str], upto: bytes | None) -> pa.Table:
        """The rows of these keys, by a join."""
        with self._database.reading() as con:
            known = None if con is None else catalog.held(con, table).table
            if con is None or known is None:
                raise TableError(f"{self._database.place} has no table {table!r} of Millrace")
            return merge.find(con, known, keys, selected(self._database.place, known, columns), upto)

    def tables(self) -> tuple[str, ...]:
        """The tables' names, sorted."""
        with self._database.reading() as con:
            return () if con is None else catalog.names(con)

    def close(self) -> None:
        """Close the database, and remove staged rows."""
        self._staging.close()
        self._database.close()


def _ledger(con: Connection | None, table: str, job: str, partitions: Sequence[TopicPartition]) -> Ledger:
    if con is None:
        return Ledger()
    held = catalog.held(con, table)
    if held.table is not None and not catalog.columns_there(con, table):
        raise dropped(table)
    return ledger.read(con, job, table).of(partitions, held.truncate)
