"""MySQL and MariaDB: rows are staged by LOAD DATA, and one transaction applies them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
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
from . import catalog, drift, evolve, ledger, scan, staging, unfinished
from . import swap as swaps
from .catalog import Kept
from .client import MySqlError, Server, Session
from .columns import physical
from .commit import MySqlCommit
from .options import MySqlTargetOptions

ATTEMPTS = 10


class MySqlSink:
    """Tables in one database of a server, MySQL 8.0.17 or MariaDB 10.5.2 at least.

    Rows are staged in tables of their own (`staging`). A commit first changes columns, under a lock by name, then
    applies rows and ledger in one transaction under READ COMMITTED, which holds the table's row in `_millrace_tables`.
    A table has the stream's columns (names and types: `columns`) and `_millrace_position`. A delete is
    remembered for `tombstone_retention`. The connection is opened at the first use and anew where it was lost.
    """

    def __init__(self, options: MySqlTargetOptions) -> None:
        self._server = Server(options)
        self._retention = options.tombstone_retention
        self._open: Session | None = None
        self._written: set[str] = set()
        self._taken: set[str] = set()

    def stage(self, table: Table, delta: pa.RecordBatch) -> Staged:
        """Load the rows into a table of their own. Raises TableError, SinkError."""
        if not delta.num_rows:
            return Staged(table, "", 0)
        with self._session() as session:
            name = staging.put(session, table, delta)
        self._written.add(name)
        return Staged(table, name, delta.num_rows)

    def commit(self, table: Table, staged: Sequence[Staged], commit: Commit) -> tuple[Account, ...]:
        """Let the table grow; then rows, truncate and ledger in one transaction."""
        changes = TableChanges(table, staged, commit)
        accounts = commit_changes(partial(self._transaction, changes), changes, str(self._server), ATTEMPTS)
        now = {part.uri for part in staged if part.rows}
        self._remove(self._taken - now, others=not self._taken)
        self._taken = now
        return accounts

    @contextmanager
    def _transaction(self, changes: TableChanges) -> Iterator[MySqlCommit]:
        with self._session() as session, ExitStack() as undo:
            catalog.make_own(session)
            undo.enter_context(catalog.locked(session, changes.name))
            target = MySqlCommit(session, self._retention, changes)
            undo.callback(lambda: self._written.update(target.staged_again))
            undo.callback(session.roll_back)
            yield target
            target.end()

    def ledger(self, job: str, table: str, partitions: Sequence[TopicPartition]) -> Ledger:
        """The next offsets of these partitions; empty where there are no tables yet."""
        with self._session() as session:
            unfinished.known(session, table)
            return _ledger(session, table, job, partitions)

    def scan(self, table: str, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The rows at one moment, 65,536 or 32 MB at a time, over a connection of its own. Raises TableError."""
        with self._reading(table) as session:
            yield from self._scanned(session, table, columns)

    def _scanned(self, session: Session, name: str, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        kept = self._there(session, name)
        yield from scan.read(session, kept, selected(str(self._server), kept.table, columns))

    @contextmanager
    def snapshot(self, table: str) -> Iterator[TableSnapshot]:
        """What one transaction of the isolation level REPEATABLE READ sees, over a connection of its own."""
        with self._reading(table) as session:
            there = catalog.own(session) and catalog.known(session, table).table is not None
            if there:
                # From here on the table keeps its columns.
                session.run(f"SELECT 1 FROM {session.name(physical(table))} LIMIT 0")
            yield TableSnapshot(there, partial(_ledger, session, table), partial(self._scanned, session, table))

    @contextmanager
    def _reading(self, table: str) -> Iterator[Session]:
        """A connection in a transaction that reads, after a growth of the table that a crash interrupted is done."""
        with self._server.errors(), ExitStack() as undo:
            session = self._server.connect(repeatable=True)
            # Where not all rows were read, the server would still send them.
            undo.callback(session.con._force_close)
            unfinished.known(session, table)
            session.run("START TRANSACTION WITH CONSISTENT SNAPSHOT")
            yield session

    def columns(self, table: str) -> pa.Schema | None:
        """The table's columns, of the stream's own types."""
        with self._session() as session:
            known = unfinished.known(session, table).table
        return None if known is None else known.columns

    def inspect(self, table: str) -> InspectedTable:
        """The table, and what others changed in it."""
        with self._session() as session:
            if catalog.own(session) and catalog.known(session, table).swapping is not None:
                unfinished.known(session, table)
            return drift.inspect(session, table)

    def rename(self, table: str, names: Mapping[str, str]) -> None:
        """One ALTER TABLE, under the lock of the table."""
        with self._session() as session:
            if not catalog.own(session):
                return
            with catalog.locked(session, table):
                known = unfinished.settled(session, table).table
                due = {} if known is None else {old: new for old, new in names.items() if old in known.columns.names}
                if known is not None and due:
                    evolve.rename(session, known, due)

    def jobs(self, table: str) -> tuple[str, ...]:
        """By `_millrace_ledger`."""
        with self._session() as session:
            unfinished.known(session, table)
            return swaps.jobs(session, table) if catalog.own(session) else ()

    def swap(self, swap: Swap) -> None:
        """One RENAME TABLE, under the lock of the table."""
        with self._session() as session:
            catalog.make_own(session)
            unfinished.known(session, swap.beside)
            with catalog.locked(session, swap.table):
                unfinished.settled(session, swap.table)
                swaps.swap(session, swap)

    def drop(self, table: str) -> None:
        """DROP TABLE."""
        with self._session() as session:
            if catalog.own(session):
                with catalog.locked(session, table):
                    unfinished.settled(session, table)
                    swaps.drop(session, table)

    def lookup(self, table: str, keys: pa.Table, columns: Sequence[str], upto: bytes | None) -> pa.Table:
        """The rows of these keys, by a join. Raises TableError."""
        with self._session() as session:
            unfinished.known(session, table)
            kept = self._there(session, table)
            return scan.find(session, kept, keys, selected(str(self._server), kept.table, columns), upto)

    def _there(self, session: Session, table: str) -> Kept:
        known = catalog.known(session, table).table if catalog.own(session) else None
        if known is None:
            raise TableError(f"{self._server} has no table {table!r} of Millrace")
        return catalog.untouched(session, known)

    def tables(self) -> tuple[str, ...]:
        """The tables' names, sorted."""
        with self._session() as session:
            return catalog.names(session) if catalog.own(session) else ()

    def describe(self, table: str) -> str:
        """A command for the client `mysql`, which asks for the password."""
        return self._server.command(physical(table))

    def close(self) -> None:
        """Drop staged rows, and what others left more than a day ago; close the connection."""
        session, self._open = self._open, None
        if session is None:
            return
        try:
            staging.drop(session, self._written | self._taken)
            staging.drop(session, staging.left_behind(session))
        except (MySqlError, OSError):
            return
        finally:
            session.con._force_close()

    def _remove(self, names: set[str], others: bool) -> None:
        """Drop staged tables, and what others left behind; where the server does not let us, they go after a day."""
        if self._open is not None and (names or others):
            try:
                staging.drop(self._open, names)
                staging.drop(self._open, staging.left_behind(self._open) if others else ())
            except (MySqlError, OSError):
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
            self._open.con._force_close()
            self._open = None


def _ledger(session: Session, table: str, job: str, partitions: Sequence[TopicPartition]) -> Ledger:
    if not catalog.own(session):
        return Ledger()
    known = catalog.known(session, table)
    gone = known.table is not None and not catalog.columns_there(session, physical(table))
    # Of a swap that was broken off one of the two tables may be away.
    swaps = f"SELECT 1 FROM {session.bound(catalog.TABLES)} WHERE swapping IS NOT NULL LIMIT 1"
    if gone and not session.run(swaps):
        raise dropped(table)
    return ledger.read(session, job, table).of(partitions, known.truncate)


def _alive(session: Session) -> bool:
    """Whether the server still answers; closes a connection that was lost."""
    try:
        session.con.ping(reconnect=False)
    except (MySqlError, OSError):
        session.con._force_close()
        return False
    return True
