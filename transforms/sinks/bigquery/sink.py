"""BigQuery: tables that take changes over the Storage Write API, each row with its position as sequence number."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import pyarrow as pa
import pyarrow.fs as pafs

from ....schemas.errors import TableError, TerminalSinkError
from ....schemas.model.change import POSITION, SOURCE
from ....schemas.model.ledger import Account, Commit, Ledger, TopicPartition
from ....schemas.model.table import Table, check_name, enlarged, selected
from .. import Staged, TableSnapshot
from ..shared.guard import NOTHING, Verdict, chosen, judge, partial_rows
from ..shared.key_index import KeyIndex
from ..shared.ledger import advanced
from ..shared.lookup import matching
from ..shared.staging import Staging
from .catalog import Catalog, Known, Offsets
from .client import Dataset
from .columns import bigquery_name, check_growth, check_table
from .merge import changes, check_keys, filled, select, truncated, write
from .options import BigQueryOptions
from .tables import check_fresh, ensure


class BigQuerySink:
    """Tables in a data set that is there already; the account's default credentials are used.

    A table has the stream's columns (names: see `bigquery_columns`, types: see `storage`) and `_millrace_position`,
    the key as its primary key, and is sorted by it. BigQuery keeps the change with the largest sequence number of each
    key, which is the position: so rows go first and the ledger after them (`bigquery_catalog`), and what a crash
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
        known = self._catalog.known(table.name)
        wanted = self._grown(table, staged, known)
        floor = max(filter(None, (known.floor, commit.truncate)), default=None)
        delta = self._staging().read(staged, wanted.columns) if staged and wanted is not None else None
        verdict = None if delta is None else judge(delta, floor, NOTHING, NOTHING)
        accounts = commit.settle({}, {}) if verdict is None or delta is None else commit.settle(*verdict.counts(delta))
        offsets = self._catalog.offsets(commit.job, table.name)
        entries = advanced(table.name, commit, accounts, offsets.entries)
        if wanted is not None:
            self._write(known, wanted, commit, floor, _accepted(wanted, delta, verdict))
        elif commit.truncate is not None:
            self._catalog.save(commit.job, table.name, known, None, floor)
        self._catalog.advance(commit.job, table.name, offsets, Offsets(entries, commit.topic_ids))
        self._staging().taken(staged)
        return accounts

    def _grown(self, table: Table, staged: Sequence[Staged], known: Known) -> Table | None:
        """The table as it has to be so that it holds the staged rows; None where it has none yet."""
        old = known.table
        if not (staged or len(table.columns)):
            return old
        wanted = enlarged(str(self._dataset), old, table, [part.table for part in staged])
        check_table(wanted)
        if old is None:
            check_name(table.name, self._catalog.names())
        else:
            check_growth(table.name, old.columns, wanted.columns)
        return wanted

    def _write(self, known: Known, table: Table, commit: Commit, floor: bytes | None, delta: pa.Table | None) -> None:
        """Bring the table to the wanted columns, then what is known of it, then the rows into it."""
        name = bigquery_name(table.name, "table")
        partial = delta is not None and bool(partial_rows(delta).any())
        if partial or commit.truncate is not None:
            check_fresh(self._dataset, name, "a row without its large values" if partial else "a TRUNCATE")
        rows = [] if delta is None else changes(table, delta)
        ensure(self._dataset, name, known.table, table, self._staleness)
        self._catalog.save(commit.job, table.name, known, table, floor)
        if commit.truncate is not None and floor is not None:
            truncated(self._dataset, name, table, floor)
        if partial:
            rows = changes(table, filled(self._dataset, name, table, delta))
        write(self._dataset, name, *rows)

    def ledger(self, job: str, table: str, partitions: Sequence[TopicPartition]) -> Ledger:
        """The next offsets of these partitions; empty where there is no table yet."""
        offsets = self._catalog.offsets(job, table)
        asked = {
            source: entry
            for source, entry in offsets.entries.items()
            if source in set(partitions) and entry.next is not None
        }
        return Ledger(
            {source: entry.next for source, entry in asked.items() if entry.next is not None},
            self._catalog.known(table).floor,
            offsets.topic_ids,
            {source: entry.start or 0 for source, entry in asked.items()},
            marks={source: entry.mark for source, entry in asked.items()},
        )

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

    def columns(self, table: str) -> pa.Schema | None:
        """The table's columns in the stream's types; None where there is no table."""
        known = self._catalog.known(table).table
        return None if known is None else known.columns

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
            self._lazy_staging = Staging(files, folder)
        return self._lazy_staging


def _accepted(table: Table, delta: pa.Table | None, verdict: Verdict | None) -> pa.Table | None:
    """The rows above the last TRUNCATE."""
    if delta is None or verdict is None:
        return None
    check_keys(table, delta)
    return chosen(delta, verdict.accepted).drop_columns([SOURCE])
