"""Delta Lake: each table a folder, on a local disk or in any object store that deltalake opens."""

import logging
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Final
from urllib.parse import unquote

import pyarrow as pa

from ....schemas.errors import TableError, TerminalSinkError, TransientSinkError
from ....schemas.model.ledger import Account, Commit, Ledger, TopicPartition
from ....schemas.model.table import Table, selected
from .. import Staged, TableSnapshot
from ..shared.commit import Conflict, TableChanges, commit_changes
from ..shared.damage import way_out
from ..shared.drift import InspectedTable
from ..shared.resync import Swap
from ..shared.staging import Staging
from ..shared.staging_folders import folder_in
from ..shared.transient_errors import sink_error
from . import client, drift
from . import swap as swaps
from .client import DeltaError, DeltaTable
from .columns import column_name, from_delta
from .commit import COMPACT_FILES, DeltaCommit
from .merge import lookup
from .options import DeltaOptions
from .tables import DeltaTables

LOGGER: Final = logging.getLogger("millrace")
ATTEMPTS: Final = 5
STAGING: Final = "_millrace_staging"


class DeltaSink:
    """Delta tables in folders below `path`, a local folder or a URL; `storage_options` are deltalake's.

    A table has the stream's columns (names: see `columns`, types: see `types`) and `_millrace_position`. Its
    ledger is in its own transaction identifiers, `millrace/<job>/<topic>/<partition>` at the next offset, and the last
    TRUNCATE's position in three of them; the accounts of a commit are in its commit information. A growth of columns
    is a commit before the rows' own. Deletes are remembered for `tombstone_retention` in a Delta table of their own
    below `_millrace_tombstones`, written first: what a lost commit leaves there refuses only older changes.
    """

    def __init__(self, options: DeltaOptions) -> None:
        self._retention = options.tombstone_retention
        path = unquote(options.path.removeprefix("file://")) if options.path.startswith("file:///") else options.path
        root = path.rstrip("/") if "://" in path else os.path.abspath(path)
        self._tables = DeltaTables(root, dict(options.storage_options))
        self._commits = Counter[str]()
        self._lazy_staging: Staging | None = None

    def stage(self, table: Table, delta: pa.RecordBatch) -> Staged:
        """Write the rows into an Arrow file in the folder `_millrace_staging`. Raises TerminalSinkError."""
        with self._errors():
            return self._staging().put(table, delta)

    def commit(self, table: Table, staged: Sequence[Staged], commit: Commit) -> tuple[Account, ...]:
        """Apply rows, truncate and ledger in one Delta commit; after another writer's commit, again on top of it."""
        changes, uri = TableChanges(table, staged, commit), self._tables.uri(table.name)
        with self._errors():
            accounts = commit_changes(partial(self._transaction, changes), changes, uri, ATTEMPTS)
            self._staging().taken(staged)
            self._maintain_if_due(table.name)
        return accounts

    @contextmanager
    def _transaction(self, changes: TableChanges) -> Iterator[DeltaCommit]:
        """deltalake commits on top of the version that was read, or not at all."""
        try:
            yield DeltaCommit(self._tables, self._staging(), self._retention, changes)
        except client.Conflict as error:
            raise Conflict(str(error)) from error

    def _maintain_if_due(self, table: str) -> None:
        """Maintenance after each `COMPACT_FILES` commits. These stand, whatever becomes of it."""
        self._commits[table] += 1
        if self._commits[table] % COMPACT_FILES:
            return
        target = self._tables.open(table)
        try:
            if target is not None:
                client.maintain(target)
        except (client.Conflict, DeltaError, OSError) as error:
            LOGGER.warning("table %s: its maintenance is put off: %s", table, _line(error))

    def maintain(self, table: str) -> dict[str, int]:
        """Merge small files and delete those that are older than the table's retention (a week) and not needed."""
        with self._errors():
            target = self._tables.open(table)
            if target is None:
                raise TableError(f"{self._tables.root} has no table {table!r} of Millrace")
            return client.maintain(target)

    def ledger(self, job: str, table: str, partitions: Sequence[TopicPartition]) -> Ledger:
        """The next offsets of these partitions; empty where there is no table yet."""
        with self._errors():
            return _ledger(self._tables.open(table), job, partitions)

    def scan(self, table: str, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The rows of the newest version, of the stream's own types. Raises TableError."""
        with self._errors():
            yield from self._rows(self._tables.open(table), table, columns)

    def _rows(
        self, target: DeltaTable | None, table: str, columns: Sequence[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        known = None if target is None else self._tables.columns(table, target)
        if target is None or known is None:
            raise TableError(f"{self._tables.root} has no table {table!r} of Millrace")
        schema = selected(self._tables.root, known, columns)
        with self._errors():
            batches = target.to_pyarrow_dataset().to_batches(columns=[column_name(name) for name in schema.names])
            yield from from_delta(schema, batches)

    @contextmanager
    def snapshot(self, table: str) -> Iterator[TableSnapshot]:
        """The newest version: its log and its files."""
        with self._errors():
            target = self._tables.open(table)
            there = target is not None and self._tables.columns(table, target) is not None
        yield TableSnapshot(there, partial(_ledger, target), partial(self._rows, target, table))

    def columns(self, table: str) -> pa.Schema | None:
        """The table's columns, of the stream's own types."""
        with self._errors():
            target = self._tables.open(table)
            known = None if target is None else self._tables.columns(table, target)
            return None if known is None else known.columns

    def inspect(self, table: str) -> InspectedTable:
        """The table, and what others changed in it since the last commit."""
        with self._errors():
            target = self._tables.open(table)
            return InspectedTable() if target is None else drift.inspect(target, table, self._tables.options)

    def rename(self, table: str, names: Mapping[str, str]) -> None:
        """All rows are written anew, in one commit; Delta's column mapping, which would save that, few writers know."""
        with self._errors():
            target = self._tables.open(table)
            known = None if target is None else self._tables.columns(table, target)
            due = {} if known is None else {old: new for old, new in names.items() if old in known.columns.names}
            if target is not None and known is not None and due:
                self._tables.rename(target, known, due)

    def jobs(self, table: str) -> tuple[str, ...]:
        """By the table's log, as far back as it is kept."""
        with self._errors():
            return swaps.jobs(self._tables.open(table))

    def swap(self, swap: Swap) -> None:
        """All rows are written anew, with the ledger, in one commit."""
        with self._errors():
            swaps.swap(self._tables, swap)

    def drop(self, table: str) -> None:
        """The folders of the table and of its tombstones."""
        with self._errors():
            swaps.drop(self._tables, table)

    def lookup(self, table: str, keys: pa.Table, columns: Sequence[str], upto: bytes | None) -> pa.Table:
        """The rows of these keys, by one pass over the files whose statistics allow them."""
        with self._errors():
            target, known = self._tables.existing(table)
            schema = selected(self._tables.root, known, columns)
            batches = lookup(target.to_pyarrow_dataset(), keys, [column_name(name) for name in columns], upto)
            return pa.Table.from_batches(from_delta(schema, batches), schema)

    def tables(self) -> tuple[str, ...]:
        """The tables' names, sorted."""
        with self._errors():
            return self._tables.names()

    def describe(self, table: str) -> str:
        """A line of Python."""
        return f"deltalake.DeltaTable({self._tables.uri(table)!r})"

    def close(self) -> None:
        """Remove staged rows."""
        if self._lazy_staging is not None:
            self._lazy_staging.close()

    def _staging(self) -> Staging:
        if self._lazy_staging is None:
            if self._tables.local and not os.path.isdir(os.path.dirname(self._tables.root)):
                raise TerminalSinkError(
                    f"{self._tables.root}: the folder above it does not exist; make it, or correct target.path"
                )
            files, root = self._tables.files()
            folder = f"{root}/{STAGING}" if root else STAGING
            self._lazy_staging = Staging(folder_in(files, folder, f"{self._tables.root}/{STAGING}"))
        return self._lazy_staging

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """deltalake's errors and those of its storage as Millrace's, with the place."""
        try:
            yield
        except client.Conflict as error:
            raise TransientSinkError(f"{self._tables.root}: another writer was faster ({_line(error)})") from error
        except (DeltaError, OSError) as error:
            gone = f"; a file of a table is gone: {way_out('TABLE')}" if "not found" in str(error) else ""
            raise sink_error(f"{self._tables.root}: {_line(error)}{gone}", error) from error
        except pa.ArrowInvalid as error:
            if "Parquet" not in str(error):
                raise
            raise TerminalSinkError(
                f"{self._tables.root}: a data file is damaged ({_line(error)}); {way_out('TABLE')}"
            ) from error


def _ledger(target: DeltaTable | None, job: str, partitions: Sequence[TopicPartition]) -> Ledger:
    if target is None:
        return Ledger()
    return client.job_ledger(target, job, partitions).of(partitions, client.last_truncate(target))


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
