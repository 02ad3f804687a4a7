"""DuckDB: a warehouse in one file, the default target."""

import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import duckdb
import pyarrow as pa

from ....schemas.errors import TableError, TerminalSinkError, TransientSinkError
from ....schemas.model.ledger import Account, Commit, Ledger, TopicPartition
from ....schemas.model.table import Table, conform, selected
from ....schemas.options import size_text
from .. import Staged, TableSnapshot
from ..shared.commit import TableChanges, commit_changes
from ..shared.drift import InspectedTable
from ..shared.passing import sink_error
from ..shared.staging import Staging
from ..shared.staging_folders import LocalFolder
from . import catalog, drift, ledger, merge
from .catalog import BATCH_ROWS, Connection, quote, quoted
from .commit import DuckDBCommit
from .options import DuckDBOptions


class DuckDBSink:
    """Tables in the DuckDB file `path`; deltas are staged in the folder `<path>.staging` beside it.

    `memory_limit` is DuckDB's own (beyond it, it spills into `<path>.tmp`), `tombstone_retention` how long a delete is
    remembered. One process at a time can have the file open: it is opened at the first use and closed by `close`.
    Each table has the stream's columns (types: see `types`) and `_millrace_position`.
    """

    def __init__(self, options: DuckDBOptions) -> None:
        self._path = os.path.abspath(options.path)
        self._memory_limit = options.memory_limit
        self._retention = options.tombstone_retention
        self._staging = Staging(LocalFolder(f"{self._path}.staging"))
        self._open: Any = None

    def stage(self, table: Table, delta: pa.RecordBatch) -> Staged:
        """Write the rows into an Arrow file in the staging folder. Raises TerminalSinkError."""
        if not os.path.isdir(os.path.dirname(self._path)):
            raise TerminalSinkError(f"{self._path}: its folder does not exist; make it, or correct target.path")
        return self._staging.put(table, delta)

    def commit(self, table: Table, staged: Sequence[Staged], commit: Commit) -> tuple[Account, ...]:
        """Apply rows, truncate and ledger in one transaction of DuckDB."""
        changes = TableChanges(table, staged, commit)
        accounts = commit_changes(partial(self._transaction, changes), changes, self._path)
        self._staging.taken(staged)
        return accounts

    def ledger(self, job: str, table: str, partitions: Sequence[TopicPartition]) -> Ledger:
        """The next offsets of these partitions; empty where there is no file yet."""
        with self._reading() as con:
            return _ledger(con, table, job, partitions)

    def scan(self, table: str, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The rows in batches of 65,536 or fewer, of the stream's own types. Raises TableError."""
        with self._reading() as con:
            cursor = None if con is None else con.cursor()
            try:
                yield from self._rows(cursor, table, columns)
            finally:
                if cursor is not None:
                    cursor.close()

    def _rows(
        self, con: Connection | None, table: str, columns: Sequence[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        known = None if con is None else catalog.held(con, table).table
        if con is None or known is None:
            raise TableError(f"{self._path} has no table {table!r} of Millrace")
        schema = selected(self._path, known, columns)
        reader = con.sql(f"SELECT {quoted(schema.names)} FROM {quote(table)}").to_arrow_reader(BATCH_ROWS)
        for batch in reader:
            yield conform(batch, schema)

    @contextmanager
    def snapshot(self, table: str) -> Iterator[TableSnapshot]:
        """What one transaction of DuckDB sees."""
        with self._reading() as con, ExitStack() as undo:
            if con is not None:
                con.execute("BEGIN")
                undo.callback(con.execute, "ROLLBACK")
            there = con is not None and catalog.held(con, table).table is not None
            yield TableSnapshot(there, partial(_ledger, con, table), partial(self._rows, con, table))

    def columns(self, table: str) -> pa.Schema | None:
        """The table's columns, of the stream's own types."""
        with self._reading() as con:
            known = None if con is None else catalog.held(con, table).table
            return None if known is None else known.columns

    def inspect(self, table: str) -> InspectedTable:
        """The table, and what others changed in it."""
        with self._reading() as con:
            return InspectedTable() if con is None else drift.inspect(con, table)

    def lookup(self, table: str, keys: pa.Table, columns: Sequence[str], upto: bytes | None) -> pa.Table:
        """The rows of these keys, by a join."""
        with self._reading() as con:
            known = None if con is None else catalog.held(con, table).table
            if con is None or known is None:
                raise TableError(f"{self._path} has no table {table!r} of Millrace")
            return merge.find(con, known, keys, selected(self._path, known, columns), upto)

    def tables(self) -> tuple[str, ...]:
        """The tables' names, sorted."""
        with self._reading() as con:
            return () if con is None else catalog.names(con)

    def describe(self, table: str) -> str:
        """A command for DuckDB's shell."""
        return f"duckdb {shlex.quote(self._path)} {shlex.quote(f'FROM {quote(table)}')}"

    def close(self) -> None:
        """Close the file, and remove staged rows."""
        self._staging.close()
        self._drop()

    def _drop(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def _connect(self) -> Connection:
        if self._open is None:
            if not os.path.isdir(os.path.dirname(self._path)):
                raise TerminalSinkError(f"{self._path}: its folder does not exist; make it, or correct target.path")
            self._open = duckdb.connect(
                self._path, config={"memory_limit": f"{self._memory_limit}B", "preserve_insertion_order": "false"}
            )
        return self._open

    @contextmanager
    def _transaction(self, changes: TableChanges) -> Iterator[DuckDBCommit]:
        with self._errors():
            con = self._connect()
            con.execute("BEGIN")
            with ExitStack() as undo:
                undo.callback(self._drop)
                yield DuckDBCommit(self._path, con, self._staging, self._retention, changes)
                con.execute("COMMIT")
                undo.pop_all()

    @contextmanager
    def _reading(self) -> Iterator[Connection | None]:
        with self._errors():
            con = self._connect() if os.path.exists(self._path) else None
            yield con if con is not None and catalog.own(con) else None

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """DuckDB's errors as Millrace's, with the file's name."""
        try:
            yield
        except duckdb.OutOfMemoryException as error:
            raise TerminalSinkError(
                f"{self._path}: raise memory_limit, {size_text(self._memory_limit)} is too small ({_line(error)})"
            ) from error
        except (duckdb.IOException, duckdb.ConnectionException, duckdb.FatalException) as error:
            raise sink_error(f"{self._path}: {_advice(str(error))} ({_line(error)})", error) from error
        except duckdb.TransactionException as error:
            if "conflict" in str(error).lower():
                raise TransientSinkError(f"{self._path}: another commit was faster ({_line(error)})") from error
            raise TerminalSinkError(f"{self._path}: {_advice(str(error))} ({_line(error)})") from error
        except duckdb.Error as error:
            raise TerminalSinkError(f"{self._path}: {_line(error)}") from error


def _ledger(con: Connection | None, table: str, job: str, partitions: Sequence[TopicPartition]) -> Ledger:
    if con is None:
        return Ledger()
    return ledger.read(con, job, table).of(partitions, catalog.held(con, table).truncate)


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


def _advice(message: str) -> str:
    """What a person can do about it."""
    words = message.lower()
    if "lock" in words:
        return "another process has the file open; DuckDB lets in one at a time: close it and run again"
    if "not a valid duckdb" in words or "magic" in words:
        return "this is not a DuckDB file; correct target.path"
    if "permission" in words or "read-only" in words or "cannot open" in words:
        return "the file cannot be opened or written; check its rights and those of its folder"
    if "space" in words or "could not write" in words or "truncate" in words:
        return "nothing was committed, the disk is full or the file cannot be written; make room and run again"
    return "DuckDB cannot read or write the file"
