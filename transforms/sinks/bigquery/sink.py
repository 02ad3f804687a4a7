"""BigQuery: tables that take changes over the Storage Write API, each row with its position as sequence number."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import pyarrow as pa
import pyarrow.fs as pafs

from ....schemas.errors import TableError, TerminalSinkError
from ....schemas.model.change import POSITION
from ....schemas.model.ledger import Account, Commit, Ledger, TopicPartition
from ....schemas.model.table import Table, selected
from .. import Staged, TableSnapshot
from ..shared.commit import TableChanges, commit_changes
from ..shared.drift import InspectedTable
from ..shared.key_index import KeyIndex
from ..shared.lookup import matching
from ..shared.staging import Staging
from ..shared.staging_folders import folder_in
from . import drift
from .catalog import Catalog
from .client import Dataset
from .columns import bigquery_name, widened_in_place
from .commit import BigQueryCommit
from .merge import select
from .options import BigQueryOptions
from .tables import check_fresh


class BigQuerySink:
    """Tables in a data set that is there already; the account's default credentials are used.

    A table has the stream's columns (names: see `columns`, types: see `types`) and `_millrace_position`,
    the key as its primary key, and is sorted by it. BigQuery keeps the change with the largest sequence number of each
    key, which is the position: so rows go first and the ledger after them (`catalog`), and what a crash
    between them repeats changes nothing. `max_staleness` above zero lets BigQuery answer queries with older rows, which
    is cheaper; what needs the newest then stops the table: partial rows, TRUNCATE, `verify`, the modes that look back.
    `staging` is a folder, or a URL that pyarrow opens, which all workers reach; without it, a temporary folder of this
    machine. `emulator` names a server of your own.
    """

    def __init__(self, options: BigQueryOptions) -> None:
        self._staleness = options.max_staleness
        self._dataset = Dataset(options.project, options.dataset, options.emulator)
        self._catalog = Catalog(self._dataset)
        self._place = options.staging
        self._lazy_staging: Staging | None = None

    def stage(self, table: Table, delta: pa.RecordBatch) -> Staged:
        """Write the rows into an Arrow file in the staging folder. Raises TerminalSinkError."""
        return self._staging().put(table, delta)

    def commit(self, table: Table, staged: Sequence[Staged], commit: Commit) -> tuple[Account, ...]:
        """Write rows and then the ledger; nothing where the accounts or the offsets are not right."""
        changes = TableChanges(table, staged, commit)
        accounts = commit_changes(partial(self._attempt, changes), changes, str(self._dataset))
        self._staging().taken(staged)
        return accounts

    @contextmanager
    def _attempt(self, changes: TableChanges) -> Iterator[BigQueryCommit]:
        """There is nothing to begin or undo: see the order of the writes in `BigQueryCommit`."""
        yield BigQueryCommit(self._dataset, self._catalog, self._staging(), self._staleness, changes)

    def ledger(self, job: str, table: str, partitions: Sequence[TopicPartition]) -> Ledger:
        """The next offsets of these partitions; empty where there is no table yet."""
        return self._catalog.job_ledger(job, table).of(partitions, self._catalog.known(table).floor)

    def scan(self, table: str, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The rows by one query, of the stream's own types. Raises TableError, also where older rows may be shown."""
        schema, name = self._selected(table, columns), bigquery_name(table, "table")
        check_fresh(self._dataset, name, "a scan")
        yield from select(self._dataset, name, schema)

    @contextmanager
    def snapshot(self, table: str) -> Iterator[TableSnapshot]:
        """The table as each question finds it: BigQuery has no moment that rows and ledger share."""

        def ledger(job: str, partitions: Sequence[TopicPartition]) -> Ledger:
            return self.ledger(job, table, partitions)

        yield TableSnapshot(self._catalog.known(table).table is not None, ledger, partial(self.scan, table))

    def widened(self, old: pa.DataType, new: pa.DataType) -> pa.DataType | None:
        """Less than elsewhere: BigQuery rewrites no values."""
        return widened_in_place(old, new)

    def columns(self, table: str) -> pa.Schema | None:
        """The table's columns in the stream's types; None where there is no table."""
        known = self._catalog.known(table).table
        return None if known is None else known.columns

    def inspect(self, table: str) -> InspectedTable:
        """The table, and what others changed in it."""
        return drift.inspect(self._dataset, self._catalog.known(table).table)

    def lookup(self, table: str, keys: pa.Table, columns: Sequence[str], upto: bytes | None) -> pa.Table:
        """The rows of these keys, by a query that leaves out most others. Raises TableError, SinkError."""
        name = bigquery_name(table, "table")
        wanted = self._selected(table, list(dict.fromkeys([*columns, *keys.column_names, POSITION])))
        check_fresh(self._dataset, name, "a look at rows that are there")
        index = KeyIndex(keys.columns)
        found = [matching(batch, index, keys.schema, upto) for batch in select(self._dataset, name, wanted, keys)]
        return pa.Table.from_batches(found, schema=wanted).select(list(columns))

    def _selected(self, table: str, columns: Sequence[str] | None) -> pa.Schema:
        known = self._catalog.known(table).table
        if known is None:
            raise TableError(f"BigQuery {self._dataset} has no table {table!r} of Millrace")
        return selected(f"BigQuery {self._dataset}", known, columns)

    def tables(self) -> tuple[str, ...]:
        """The tables' names, sorted."""
        return self._catalog.names()

    def describe(self, table: str) -> str:
        """A query."""
        return f"SELECT * FROM {self._dataset.sql(bigquery_name(table, 'table'))}"

    def close(self) -> None:
        """Close connections, and remove staged rows."""
        if self._lazy_staging is not None:
            self._lazy_staging.close()
            self._lazy_staging = None
        self._dataset.close()

    def _staging(self) -> Staging:
        if self._lazy_staging is None:
            try:
                if self._place is None:
                    files: pafs.FileSystem = pafs.LocalFileSystem(use_mmap=True)
                    folder = tempfile.mkdtemp(prefix="millrace-")
                elif "://" in self._place:
                    files, folder = pafs.FileSystem.from_uri(self._place)
                else:
                    files, folder = pafs.LocalFileSystem(use_mmap=True), self._place
            except (OSError, ValueError) as error:
                raise TerminalSinkError(f"target.staging: rows cannot be staged there: {error}") from error
            self._lazy_staging = Staging(folder_in(files, folder))
        return self._lazy_staging
