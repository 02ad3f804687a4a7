"""Tables in memory: a job writes them, and the test that runs it in its own process reads them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pyarrow as pa

from ....schemas.errors import TableError
from ....schemas.merging.renaming import with_names
from ....schemas.model.ledger import Account, Commit, Ledger, TopicPartition
from ....schemas.model.table import Table, conform, selected
from .. import Staged, TableSnapshot
from ..shared.commit import TableChanges, commit_changes
from ..shared.drift import InspectedTable
from ..shared.key_index import KeyIndex
from ..shared.ledger import JobLedger
from ..shared.lookup import matching
from ..shared.resync import Swap, handed_over
from ..shared.staging import Staging
from .commit import MemoryCommit
from .options import MemoryOptions
from .staging import MemoryFolder
from .tables import MemoryTable, MemoryTables, make_tables, tables_of

BATCH_ROWS = 65_536
WEEK = timedelta(days=7)


class MemorySink:
    """The tables of this name in the memory of this process.

    A job file names them as `target: {type: memory, name: NAME}`; the job's workers must be threads of this process, as
    those of `run` are. All sinks of one name share their tables, which live until `clear` or the end of the process.
    A test makes the sink before the job runs: to a name that nobody has made, no job writes.
    """

    def __init__(self, name: str = "memory", *, tombstone_retention: timedelta = WEEK, make: bool = True) -> None:
        if make:
            make_tables(name)
        self.name = name
        self._retention = tombstone_retention
        self._staging = Staging(MemoryFolder(name))

    @property
    def _tables(self) -> MemoryTables:
        return tables_of(self.name)

    @property
    def _place(self) -> str:
        return f"memory {self.name!r}"

    def read(self, table: str, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows in no order, without Millrace's columns unless named. Raises TableError where there is no table."""
        held = self._held(table)
        return pa.Table.from_batches(self._rows(held, table, columns), self._schema(held, table, columns))

    def clear(self) -> None:
        """Drop all tables of this name, with their ledgers and staged rows."""
        with self._tables.lock:
            self._tables.tables.clear()
            self._tables.staged.clear()

    def stage(self, table: Table, delta: pa.RecordBatch) -> Staged:
        """Keep the rows beside the tables, as an Arrow file. Raises TerminalSinkError."""
        return self._staging.put(table, delta)

    def commit(self, table: Table, staged: Sequence[Staged], commit: Commit) -> tuple[Account, ...]:
        """Apply rows, truncate and ledger; one commit at a time, and readers see all of it or nothing."""
        changes = TableChanges(table, staged, commit)
        accounts = commit_changes(partial(self._transaction, changes), changes, self._place)
        self._staging.taken(staged)
        return accounts

    @contextmanager
    def _transaction(self, changes: TableChanges) -> Iterator[MemoryCommit]:
        tables = self._tables
        with tables.lock:
            yield MemoryCommit(self._place, tables, self._staging, self._retention, changes)

    def ledger(self, job: str, table: str, partitions: Sequence[TopicPartition]) -> Ledger:
        """The next offsets of these partitions."""
        return _ledger(self._held(table), job, partitions)

    def scan(self, table: str, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The rows in batches of 65,536 or fewer, of the stream's own types. Raises TableError."""
        yield from self._rows(self._held(table), table, columns)

    @contextmanager
    def snapshot(self, table: str) -> Iterator[TableSnapshot]:
        """What the last commit left: no later one changes it."""
        held = self._held(table)
        yield TableSnapshot(held.table is not None, partial(_ledger, held), partial(self._rows, held, table))

    def columns(self, table: str) -> pa.Schema | None:
        """The table's columns, of the stream's own types."""
        known = self._held(table).table
        return None if known is None else known.columns

    def inspect(self, table: str) -> InspectedTable:
        """The table; nobody else can change it."""
        return InspectedTable(self._held(table).table)

    def rename(self, table: str, names: Mapping[str, str]) -> None:
        """Another table in the place of the old one."""
        with self._tables.lock:
            held = self._held(table)
            due = {old: new for old, new in names.items() if old in held.rows.column_names}
            if held.table is not None and due:
                rows = held.rows.rename_columns([due.get(name, name) for name in held.rows.column_names])
                self._tables.tables[table] = replace(held, table=with_names(held.table, due), rows=rows)

    def jobs(self, table: str) -> tuple[str, ...]:
        """By the table's ledgers."""
        return tuple(sorted(self._held(table).ledgers))

    def swap(self, swap: Swap) -> None:
        """One table in the place of the other."""
        tables = self._tables
        with tables.lock:
            built, live = self._held(swap.beside), self._held(swap.table)
            if built.table is None:
                raise TableError(f"table {swap.table}: {swap.beside} has no rows; nothing was swapped")
            before = JobLedger() if swap.lost else live.job_ledger(swap.job)
            after = handed_over(swap, before, built.job_ledger(swap.job))
            known = replace(built.table, name=swap.table)
            tables.tables[swap.table] = replace(built, table=known, ledgers={swap.job: after})
            del tables.tables[swap.beside]

    def drop(self, table: str) -> None:
        """The table and its ledgers."""
        with self._tables.lock:
            self._tables.tables.pop(table, None)

    def lookup(self, table: str, keys: pa.Table, columns: Sequence[str], upto: bytes | None) -> pa.Table:
        """The rows of these keys, by one pass over all rows."""
        held, index = self._held(table), KeyIndex(keys.columns)
        found = [matching(batch, index, keys.schema, upto) for batch in held.rows.to_batches()]
        schema = self._schema(held, table, columns)
        return pa.Table.from_batches([conform(batch, schema) for batch in found], schema)

    def tables(self) -> tuple[str, ...]:
        """The tables' names, sorted."""
        return self._tables.names()

    def describe(self, table: str) -> str:
        """A line of Python."""
        return f"millrace.MemorySink({self.name!r}).read({table!r})"

    def close(self) -> None:
        """Remove staged rows. The tables stay."""
        self._staging.close()

    def _held(self, table: str) -> MemoryTable:
        return self._tables.tables.get(table, MemoryTable())

    def _schema(self, held: MemoryTable, table: str, columns: Sequence[str] | None) -> pa.Schema:
        if held.table is None:
            raise TableError(f"{self._place} has no table {table!r} of Millrace")
        return selected(self._place, held.table, columns)

    def _rows(self, held: MemoryTable, table: str, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        schema = self._schema(held, table, columns)
        for batch in held.rows.select(schema.names).to_batches(BATCH_ROWS):
            yield conform(batch, schema)


def open_memory(options: MemoryOptions) -> MemorySink:
    """The tables that a job file names. They are not made: a job that names others than its test must not be lost."""
    return MemorySink(options.name, tombstone_retention=options.tombstone_retention, make=False)


def _ledger(held: MemoryTable, job: str, partitions: Sequence[TopicPartition]) -> Ledger:
    return held.job_ledger(job).of(partitions, held.truncate)
