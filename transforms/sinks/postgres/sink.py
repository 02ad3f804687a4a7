"""Postgres 15 or newer: rows are staged by COPY, and one transaction applies them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial

import pyarrow as pa

from ....schemas.errors import TableError
from ....schemas.model.ledger import Account, Commit, Ledger, TopicPartition
from ....schemas.model.table import Table, selected
from .. import Staged, TableSnapshot
from ..shared.commit import TableChanges, commit_changes
from ..shared.damage import dropped
from ..shared.drift import InspectedTable
from ..shared.resync import Swap
from . import catalog, drift, ledger, merge, scan, staging
from . import swap as swaps
from .catalog import Kept
from .client import PostgresError, Server, Session
from .columns import physical
from .commit import PostgresCommit
from .options import PostgresOptions


class PostgresSink:
    """Tables in the schema `schema` of the database that `dsn`, a connection string of libpq, leads to.

    Rows are staged in unlogged tables (`staging`); a commit is one transaction under READ COMMITTED that first
    locks the table's row in `_millrace_tables`: other commits of the table wait and then see what it left. A table has
    the stream's columns (names and types: `columns`) and `_millrace_position`. A delete is
    remembered for `tombstone_retention`. The connection is opened at the first use and anew where it was lost.
    """

    def __init__(self, options: PostgresOptions) -> None:
        self._server = Server(options.dsn, options.schema_)
        self._retention = options.tombstone_retention
        self._open: Session | None = None
        self._written: set[str] = set()
        self._taken: set[str] = set()

    def stage(self, table: Table, delta: pa.RecordBatch) -> Staged:
        """Copy the rows into a table of their own. Raises TableError, SinkError."""
        if not delta.num_rows:
            return Staged(table, "", 0)
        with self._session() as session:
            name = staging.put(session, table, delta)
        self._written.add(name)
        return Staged(table, name, delta.num_rows)

    def commit(self, table: Table, staged: Sequence[Staged], commit: Commit) -> tuple[Account, ...]:
        """Apply rows, truncate and ledger in one transaction, under the lock of the table."""
        changes = TableChanges(table, staged, commit)
        accounts = commit_changes(partial(self._transaction, changes), changes, str(self._server))
        now = {part.uri for part in staged if part.rows}
        self._remove(self._taken - now, others=not self._taken)
        self._taken = now
        return accounts

    @contextmanager
    def _transaction(self, changes: TableChanges) -> Iterator[PostgresCommit]:
        with self._session() as session:
            catalog.make_own(session)
            with session.transaction():
                session.run(merge.PLANNING)
                yield PostgresCommit(session, self._retention, changes)

    def ledger(self, job: str, table: str, partitions: Sequence[TopicPartition]) -> Ledger:
        """The next offsets of these partitions; empty where there are no tables yet."""
        with self._session() as session:
            return _ledger(session, table, job, partitions)

    def scan(self, table: str, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The rows at one moment, 65,536 or 32 MB at a time, over a connection of its own. Raises TableError."""
        with self._server.errors():
            session = self._server.connect()
            with closing(session.con), session.transaction():
                yield from self._scanned(session, table, columns)

    def _scanned(self, session: Session, name: str, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        kept = self._there(session, name)
        yield from scan.read(session, kept, selected(str(self._server), kept.table, columns), ["true"])

    @contextmanager
    def snapshot(self, table: str) -> Iterator[TableSnapshot]:
        """What one transaction of the isolation level REPEATABLE READ sees, over a connection of its own."""
        with self._server.errors():
            session = self._server.connect(repeatable=True)
            with closing(session.con), session.transaction():
                # The topics are read while the transaction waits.
                session.run("SET LOCAL idle_in_transaction_session_timeout = 0")
                there = catalog.own(session) and catalog.held(session, table).table is not None
                yield TableSnapshot(there, partial(_ledger, session, table), partial(self._scanned, session, table))

    def columns(self, table: str) -> pa.Schema | None:
        """The table's columns, of the stream's own types."""
        with self._session() as session:
            known = catalog.held(session, table).table if catalog.own(session) else None
        return None if known is None else known.columns

    def inspect(self, table: str) -> InspectedTable:
        """The table, and what others changed in it."""
        with self._session() as session:
            return drift.inspect(session, table)

    def rename(self, table: str, names: Mapping[str, str]) -> None:
        """ALTER TABLE in one transaction, under the lock of the table."""
        with self._session() as session:
            if not catalog.own(session):
                return
            with session.transaction():
                known = catalog.lock_table(session, table).table
                due = {} if known is None else {old: new for old, new in names.items() if old in known.columns.names}
                if known is not None and due:
                    catalog.rename(session, known, due)

    def jobs(self, table: str) -> tuple[str, ...]:
        """By `_millrace_ledger`."""
        with self._session() as session:
            return swaps.jobs(session, table) if catalog.own(session) else ()

    def swap(self, swap: Swap) -> None:
        """DROP and RENAME, and the ledger, in one transaction, under the locks of both tables."""
        with self._session() as session, session.transaction():
            swaps.swap(session, swap)

    def drop(self, table: str) -> None:
        """DROP in one transaction."""
        with self._session() as session, session.transaction():
            if catalog.own(session):
                swaps.drop(session, table)

    def lookup(self, table: str, keys: pa.Table, columns: Sequence[str], upto: bytes | None) -> pa.Table:
        """The rows of these keys, by a join. Raises TableError."""
        with self._session() as session, session.transaction(durable=False):
            kept = self._there(session, table)
            session.run(merge.PLANNING)
            return scan.find(session, kept, keys, selected(str(self._server), kept.table, columns), upto)

    def _there(self, session: Session, table: str) -> Kept:
        kept = catalog.locked_for_reading(session, table)
        if kept is None:
            raise TableError(f"{self._server} has no table {table!r} of Millrace")
        return kept

    def tables(self) -> tuple[str, ...]:
        """The tables' names, sorted."""
        with self._session() as session:
            return catalog.names(session) if catalog.own(session) else ()

    def describe(self, table: str) -> str:
        """A command for psql, which asks for the password where it needs one."""
        return self._server.command(physical(table))

    def close(self) -> None:
        """Drop staged rows, and what others left more than a day ago; close the connection."""
        session, self._open = self._open, None
        if session is None:
            return
        try:
            staging.drop(session, self._written | self._taken)
            staging.drop(session, staging.left_behind(session))
        except PostgresError:
            return
        finally:
            session.con.close()

    def _remove(self, names: set[str], others: bool) -> None:
        """Drop staged tables, and what others left behind; where the server does not let us, they go after a day."""
        if self._open is not None and (names or others):
            try:
                staging.drop(self._open, names)
                staging.drop(self._open, staging.left_behind(self._open) if others else ())
            except PostgresError:
                return
        self._written -= names

    @contextmanager
    def _session(self) -> Iterator[Session]:
        """The connection, made anew where it was lost; after an error it is as it was before."""
        with self._server.errors(), ExitStack() as undo:
            if self._open is None or not _alive(self._open):
                self._open = self._server.connect()
            undo.callback(self._drop)
            yield self._open
            undo.pop_all()

    def _drop(self) -> None:
        if self._open is not None:
            self._open.con.close()
            self._open = None


def _ledger(session: Session, table: str, job: str, partitions: Sequence[TopicPartition]) -> Ledger:
    if not catalog.own(session):
        return Ledger()
    held = catalog.held(session, table)
    if held.table is not None and not catalog.columns_there(session, held.table):
        raise dropped(table)
    return ledger.read(session, job, table).of(partitions, held.truncate)


def _alive(session: Session) -> bool:
    """Whether the server still answers; closes a connection that was lost."""
    try:
        session.run("SELECT 1")
    except PostgresError:
        session.con.close()
        return False
    return True
