"""Delta Lake: each table a folder, on a local disk or in any object store that deltalake opens."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs

from ...schemas.change import OP, POSITION, POSITION_TYPE, PREFIX
from ...schemas.errors import MissingExtraError, TableError, TerminalSinkError, TransientSinkError
from ...schemas.ledger import Account, Commit, Ledger, TopicPartition
from ...schemas.table import Table, check_columns, check_name, conform, unify
from . import Staged
from .delta_columns import (
    POSITION_FIELD,
    check_key,
    column_name,
    delta_schema,
    folder_name,
    from_delta,
    read_table,
    table_name,
    to_delta,
)
from .delta_rows import fill, find
from .guard import NOTHING, Match, Verdict, chosen, judge
from .ledger import Entry, advanced
from .options import read_retention
from .staging import Staging

try:
    from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
    from deltalake import Schema as DeltaSchema
    from deltalake.exceptions import CommitFailedError, DeltaError
    from deltalake.exceptions import TableNotFoundError as NoTableError
    from deltalake.fs import DeltaStorageHandler
except ImportError as missing:
    raise MissingExtraError("target.type: delta", "delta") from missing

ATTEMPTS: Final = 5
COMPACT_FILES: Final = 32
TOMBSTONES: Final = "_millrace_tombstones"
STAGING: Final = "_millrace_staging"
DELETED_AT: Final = pa.field("_millrace_deleted_at", pa.timestamp("us", "UTC"))


class DeltaSink:
    """Delta tables in folders below `path`, a local folder or a URL; `storage_options` are deltalake's.

    A table has the stream's columns (names: see `delta_columns`, types: see `storage`) and `_millrace_position`. Its
    ledger is in its own transaction identifiers, `millrace/<job>/<topic>/<partition>` at the next offset, and the last
    TRUNCATE's position in three of them; the accounts of a commit are in its commit information. A growth of columns
    is a commit before the rows' own. Deletes are remembered for `tombstone_retention` in a Delta table of their own
    below `_millrace_tombstones`, written first: what a lost commit leaves there refuses only older changes.
    """

    def __init__(
        self, path: str, storage_options: Mapping[str, str] | None = None, tombstone_retention: str = "7d"
    ) -> None:
        self._options = dict(storage_options or {})
        self._retention = read_retention(tombstone_retention)
        self._local = "://" not in path
        self._root = os.path.abspath(path) if self._local else path.rstrip("/")
        self._lazy_staging: Staging | None = None

    def stage(self, table: Table, delta: pa.RecordBatch) -> Staged:
        """Write the rows into an Arrow file in the folder `_millrace_staging`. Raises TerminalSinkError."""
        with self._errors():
            return self._staging().put(table, delta)

    def commit(self, table: Table, staged: Sequence[Staged], commit: Commit) -> tuple[Account, ...]:
        """Apply rows, truncate and ledger in one Delta commit; after another writer's commit, again on top of it."""
        with self._errors():
            for _ in range(ATTEMPTS):
                try:
                    accounts = self._attempt(table, staged, commit)
                except CommitFailedError:
                    continue
                self._staging().taken(staged)
                return accounts
        raise TransientSinkError(f"{self._uri(table.name)}: other writers were faster {ATTEMPTS} times")

    def _attempt(self, table: Table, staged: Sequence[Staged], commit: Commit) -> tuple[Account, ...]:
        target, known = self._grown(table, staged)
        before = _truncate(target)
        floor = max(filter(None, (before, commit.truncate)), default=None)
        rows = self._staging().read(staged, known.columns) if known is not None else None
        if known is None or rows is None or not len(rows):
            accounts, delta = commit.settle({}, {}), None
        else:
            delta = pa.Table.from_batches([to_delta(known.columns, batch) for batch in rows.to_batches()])
            graves = self._tombstones(known)
            verdict = _judge(target, graves, _key(known), delta, floor)
            accounts = commit.settle(*verdict.counts(delta))
            self._bury(graves, known, chosen(delta, verdict.deletes))
            delta = _accepted(target, _key(known), delta, verdict, floor)
        properties = _properties(target, table.name, commit, accounts, floor if floor != before else None)
        _write(target, () if known is None else _key(known), delta, properties, floor if floor != before else None)
        return accounts

    def _grown(self, table: Table, staged: Sequence[Staged]) -> tuple[DeltaTable, Table | None]:
        """The table made or grown so that it holds the staged rows."""
        target = self._open(self._uri(table.name))
        old = None if target is None else self._known(table.name, target)
        parts = [part.table.columns for part in staged]
        columns = unify(table.name, [*([old.columns] if old else []), table.columns, *parts])
        wanted = Table(table.name, table.key, columns)
        if len(table.columns) or staged:
            check_columns(wanted)
        if old is not None and len(table.columns):
            check_key(old, table, self._uri(table.name))
        elif old is not None:
            wanted = old
        if target is None:
            check_name(table.name, self.tables())
        target = self._fitting(self._uri(table.name), target, wanted, [POSITION_FIELD])
        return target, wanted if len(wanted.columns) else None

    def _fitting(self, uri: str, target: DeltaTable | None, table: Table, extra: list[pa.Field]) -> DeltaTable:
        """The Delta table with exactly these columns: made, widened by new columns, or rewritten in wider types."""
        wanted = delta_schema(table)
        if target is None:
            schema = pa.schema([*wanted, *extra])
            return DeltaTable.create(uri, schema, storage_options=self._options, mode="ignore")
        old = read_table(table.name, _schema(target))
        known = old.columns if old is not None else pa.schema([])
        if any(not known.field(name).equals(table.columns.field(name)) for name in known.names):
            self._rewrite(target, (known, table.columns), pa.schema([*wanted, *extra]))
        elif len(known) < len(table.columns):
            added = pa.schema(list(wanted)[len(known) :])
            target.alter.add_columns(DeltaSchema.from_arrow(added).fields, commit_properties=_alone())
        return self._open(uri) if len(known) < len(table.columns) or not known.equals(table.columns) else target

    def _rewrite(self, target: DeltaTable, logical: tuple[pa.Schema, pa.Schema], stored: pa.Schema) -> None:
        old, new = logical
        extra = [field for field in stored if field.name.startswith(PREFIX)]
        names = [*(column_name(name) for name in old.names), *(field.name for field in extra)]
        batches = target.to_pyarrow_dataset().to_batches(columns=names)
        own_types = from_delta(pa.schema([*old, *extra]), batches)
        converted = (to_delta(new, conform(batch, pa.schema([*new, *extra]))) for batch in own_types)
        reader = pa.RecordBatchReader.from_batches(stored, (conform(batch, stored) for batch in converted))
        write_deltalake(target, reader, mode="overwrite", schema_mode="overwrite", commit_properties=_alone())

    def _tombstones(self, table: Table) -> DeltaTable:
        uri = f"{self._root}/{TOMBSTONES}/{folder_name(table.name)}"
        keys = Table(table.name, table.key, pa.schema([table.columns.field(name) for name in table.key]))
        return self._fitting(uri, self._open(uri), keys, [POSITION_FIELD, DELETED_AT])

    def _bury(self, graves: DeltaTable, table: Table, deleted: pa.Table) -> None:
        """Add tombstones; forget the old ones where any is too old, or where small files add up."""
        now = datetime.now(UTC)
        limit = pa.scalar(now - self._retention, DELETED_AT.type)
        held = graves.to_pyarrow_dataset()
        if held.count_rows(filter=pa.dataset.field(DELETED_AT.name) < limit) or len(held.files) > COMPACT_FILES:
            kept = held.to_table(filter=pa.dataset.field(DELETED_AT.name) >= limit)
            write_deltalake(graves, kept, mode="overwrite", commit_properties=_alone())
            graves.vacuum(dry_run=False)
        if len(deleted):
            fresh = deleted.select([*_key(table), POSITION])
            fresh = fresh.append_column(DELETED_AT, pa.repeat(pa.scalar(now, DELETED_AT.type), len(fresh)))
            write_deltalake(graves, fresh, mode="append")

    def ledger(self, job: str, table: str, partitions: Sequence[TopicPartition]) -> Ledger:
        """The next offsets of these partitions; empty where there is no table yet."""
        with self._errors():
            target = self._open(self._uri(table))
            if target is None:
                return Ledger()
            return Ledger(_offsets(target, job, partitions), _truncate(target))

    def scan(self, table: str, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The rows of the newest version, of the stream's own types. Raises TableError."""
        with self._errors():
            target = self._open(self._uri(table))
            known = None if target is None else self._known(table, target)
            if target is None or known is None:
                raise TableError(f"{self._root} has no table {table!r} of Millrace")
            fields = {field.name: field for field in [*known.columns, pa.field(POSITION, POSITION_TYPE)]}
            wanted = known.columns.names if columns is None else list(columns)
            missing = [name for name in wanted if name not in fields]
            if missing:
                raise TableError(f"{self._uri(table)}: there is no column {missing[0]!r}")
            batches = target.to_pyarrow_dataset().to_batches(columns=[column_name(name) for name in wanted])
            yield from from_delta(pa.schema([fields[name] for name in wanted]), batches)

    def tables(self) -> tuple[str, ...]:
        """The tables' names, sorted."""
        with self._errors():
            files, root = self._files()
            found = files.get_file_info(pafs.FileSelector(root, allow_not_found=True))
            folders = [info.base_name for info in found if info.type == pafs.FileType.Directory]
            names = [table_name(folder) for folder in folders if not folder.lower().startswith(PREFIX)]
            opened = [(name, self._open(self._uri(name))) for name in names]
            return tuple(sorted(name for name, table in opened if table and read_table(name, _schema(table))))

    def describe(self, table: str) -> str:
        """A line of Python."""
        return f"deltalake.DeltaTable({self._uri(table)!r})"

    def close(self) -> None:
        """Remove staged rows."""
        if self._lazy_staging is not None:
            self._lazy_staging.close()

    def _uri(self, table: str) -> str:
        return f"{self._root}/{folder_name(table)}"

    def _open(self, uri: str) -> DeltaTable | None:
        try:
            return DeltaTable(uri, storage_options=self._options)
        except NoTableError:
            return None

    def _known(self, name: str, target: DeltaTable) -> Table | None:
        schema = _schema(target)
        table = read_table(name, schema)
        mine = len(table.columns) + 1 if table else 1
        if POSITION not in schema.names or len(schema) != mine:
            raise TerminalSinkError(
                f"{self._uri(name)} is a Delta table that Millrace did not make, or that has other columns by now: "
                "set another `to`, or put its columns back as they were"
            )
        return table

    def _files(self) -> tuple[pafs.FileSystem, str]:
        if self._local:
            return pafs.LocalFileSystem(use_mmap=True), self._root
        return pafs.PyFileSystem(DeltaStorageHandler(self._root, self._options)), ""

    def _staging(self) -> Staging:
        if self._lazy_staging is None:
            if self._local and not os.path.isdir(os.path.dirname(self._root)):
                raise TerminalSinkError(f"{self._root}: the folder above it does not exist; make it, or correct target.path")
            files, root = self._files()
            self._lazy_staging = Staging(files, f"{root}/{STAGING}".lstrip("/" if not root else ""))
        return self._lazy_staging

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """deltalake's errors and those of its storage as Millrace's, with the place."""
        try:
            yield
        except CommitFailedError as error:
            raise TransientSinkError(f"{self._root}: another writer was faster ({_line(error)})") from error
        except (DeltaError, OSError) as error:
            raise TerminalSinkError(f"{self._root}: {_line(error)}") from error


def _schema(target: DeltaTable) -> pa.Schema:
    return pa.schema(target.schema().to_arrow())


def _key(table: Table) -> tuple[str, ...]:
    return tuple(column_name(name) for name in table.key)


def _alone(**more: Any) -> CommitProperties:
    """A commit that fails where another was made since the version was read."""
    return CommitProperties(max_commit_retries=0, **more)


def _judge(
    target: DeltaTable, graves: DeltaTable, key: Sequence[str], delta: pa.Table, floor: bytes | None
) -> Verdict:
    """The guard; a delete whose tombstone was written by a commit that then failed counts as new while its row lives."""
    rows = find(target.to_pyarrow_dataset(), key, delta).match
    dead = find(graves.to_pyarrow_dataset(), key, delta)
    live = np.zeros(len(delta), np.bool_)
    live[rows.row] = True
    again = dead.same & live[dead.match.row] & (np.asarray(delta.column(OP)) != 0)[dead.match.row]
    return judge(delta, floor, rows, Match(dead.match.row, dead.match.id, dead.match.newer | again))
