"""Delta Lake: each table a folder, on a local disk or in any object store that deltalake opens."""

import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Final
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs

from ....schemas.errors import TableError, TerminalSinkError, TransientSinkError
from ....schemas.model.change import OP, POSITION, PREFIX, SOURCE, UPSERT
from ....schemas.model.ledger import Account, Commit, Ledger, TopicPartition
from ....schemas.model.table import Table, check_name, conform, enlarged, selected
from .. import Staged, TableSnapshot
from ..shared.guard import Match, Verdict, chosen, judge
from ..shared.names import folder_name, table_name
from ..shared.staging import Staging
from . import client
from .client import Conflict, DeltaError, DeltaTable, LedgerEntry
from .columns import POSITION_FIELD, column_name, delta_schema, from_delta, read_table, to_delta
from .merge import fill, find, lookup, prunable
from .options import DeltaOptions

LOGGER: Final = logging.getLogger("millrace")
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

    def __init__(self, options: DeltaOptions) -> None:
        self._options = dict(options.storage_options)
        self._retention = options.tombstone_retention
        path = unquote(options.path.removeprefix("file://")) if options.path.startswith("file:///") else options.path
        self._local = "://" not in path
        self._root = os.path.abspath(path) if self._local else path.rstrip("/")
        self._commits = Counter[str]()
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
                except Conflict:
                    continue
                self._staging().taken(staged)
                self._tend(table.name)
                return accounts
        raise TransientSinkError(f"{self._uri(table.name)}: other writers were faster {ATTEMPTS} times")

    def _tend(self, table: str) -> None:
        """Maintenance after each `COMPACT_FILES` commits. These stand, whatever becomes of it."""
        self._commits[table] += 1
        if self._commits[table] % COMPACT_FILES:
            return
        target = client.open_table(self._uri(table), self._options)
        try:
            if target is not None:
                client.maintain(target)
        except (Conflict, DeltaError, OSError) as error:
            LOGGER.warning("table %s: its maintenance is put off: %s", table, _line(error))

    def maintain(self, table: str) -> dict[str, int]:
        """Merge small files and delete those that are older than the table's retention (a week) and not needed."""
        with self._errors():
            target = client.open_table(self._uri(table), self._options)
            if target is None:
                raise TableError(f"{self._root} has no table {table!r} of Millrace")
            return client.maintain(target)

    def _attempt(self, table: Table, staged: Sequence[Staged], commit: Commit) -> tuple[Account, ...]:
        target, known = self._grown(table, staged)
        before = client.last_truncate(target)
        floor = max(filter(None, (before, commit.truncate)), default=None)
        fresh = floor if floor != before else None
        rows = self._staging().read(staged, known.columns) if staged and known is not None else None
        if known is None or rows is None or not len(rows):
            accounts = commit.settle({}, {})
            entry = client.ledger_entry(target, table.name, commit, accounts, fresh)
            _write(target, known, None, entry)
            return accounts
        delta = pa.Table.from_batches([to_delta(known.columns, batch) for batch in rows.to_batches()])
        graves = self._tombstones(known)
        verdict = _judge((target, graves), _key(known), delta, floor)
        accounts = commit.settle(*verdict.counts(delta))
        entry = client.ledger_entry(target, table.name, commit, accounts, fresh)
        self._bury(graves, known, chosen(delta, verdict.deletes))
        filled = fill(target.to_pyarrow_dataset(), _key(known), chosen(delta, verdict.accepted), floor)
        new = not verdict.held(verdict.rows).any()
        _write(target, known, filled.drop_columns([SOURCE]), entry, new)
        return accounts

    def _grown(self, table: Table, staged: Sequence[Staged]) -> tuple[DeltaTable, Table | None]:
        """The table made or grown so that it holds the staged rows; None for one that holds a ledger only."""
        uri = self._uri(table.name)
        target = client.open_table(uri, self._options)
        old = None if target is None else self._known(table.name, target)
        if not (staged or len(table.columns)):
            wanted = old or Table(table.name, (), pa.schema([]))
        else:
            wanted = enlarged(uri, old, table, [part.table for part in staged])
        if target is None:
            check_name(table.name, self.tables())
        return self._fitting(uri, target, wanted, [POSITION_FIELD]), wanted if len(wanted.columns) else None

    def _fitting(self, uri: str, target: DeltaTable | None, table: Table, extra: list[pa.Field]) -> DeltaTable:
        """The Delta table with exactly these columns: made, widened by new columns, or rewritten in wider types."""
        wanted = delta_schema(table)
        if target is None:
            return client.create(uri, pa.schema([*wanted, *extra]), self._options)
        old = read_table(table.name, client.columns(target))
        known = old.columns if old is not None else pa.schema([])
        if known.equals(table.columns):
            return target
        if all(known.field(name).type.equals(table.columns.field(name).type) for name in known.names):
            client.add_columns(target, pa.schema(list(wanted)[len(known) :]))
        else:
            _rewrite(target, (known, table.columns), pa.schema([*wanted, *extra]))
        return client.open_table(uri, self._options) or target

    def _tombstones(self, table: Table) -> DeltaTable:
        uri = f"{self._root}/{TOMBSTONES}/{folder_name(table.name)}"
        keys = Table(table.name, table.key, pa.schema([table.columns.field(name) for name in table.key]))
        target = client.open_table(uri, self._options)
        return self._fitting(uri, target, keys, [POSITION_FIELD, DELETED_AT])

    def _bury(self, graves: DeltaTable, table: Table, deleted: pa.Table) -> None:
        """Add tombstones; forget the old ones where any is too old, or where small files add up."""
        now = datetime.now(UTC)
        limit = pa.scalar(now - self._retention, DELETED_AT.type)
        held, age = graves.to_pyarrow_dataset(), pc.field(DELETED_AT.name)
        if held.count_rows(filter=age < limit) or len(held.files) > COMPACT_FILES:
            client.replace(graves, held.to_table(filter=age >= limit))
            graves.vacuum(dry_run=False)
        if len(deleted):
            fresh = deleted.select([*_key(table), POSITION])
            fresh = fresh.append_column(DELETED_AT, pa.repeat(pa.scalar(now, DELETED_AT.type), len(fresh)))
            client.append(graves, fresh)

    def ledger(self, job: str, table: str, partitions: Sequence[TopicPartition]) -> Ledger:
        """The next offsets of these partitions; empty where there is no table yet."""
        with self._errors():
            return _ledger(client.open_table(self._uri(table), self._options), job, partitions)

    def scan(self, table: str, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The rows of the newest version, of the stream's own types. Raises TableError."""
        with self._errors():
            yield from self._rows(client.open_table(self._uri(table), self._options), table, columns)

    def _rows(
        self, target: DeltaTable | None, table: str, columns: Sequence[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        known = None if target is None else self._known(table, target)
        if target is None or known is None:
            raise TableError(f"{self._root} has no table {table!r} of Millrace")
        schema = selected(self._root, known, columns)
        with self._errors():
            batches = target.to_pyarrow_dataset().to_batches(columns=[column_name(name) for name in schema.names])
            yield from from_delta(schema, batches)

    @contextmanager
    def snapshot(self, table: str) -> Iterator[TableSnapshot]:
        """The newest version: its log and its files."""
        with self._errors():
            target = client.open_table(self._uri(table), self._options)
            there = target is not None and self._known(table, target) is not None
        yield TableSnapshot(there, partial(_ledger, target), partial(self._rows, target, table))

    def columns(self, table: str) -> pa.Schema | None:
        """The table's columns, of the stream's own types."""
        with self._errors():
            target = client.open_table(self._uri(table), self._options)
            known = None if target is None else self._known(table, target)
            return None if known is None else known.columns

    def lookup(self, table: str, keys: pa.Table, columns: Sequence[str], upto: bytes | None) -> pa.Table:
        """The rows of these keys, by one pass over the files whose statistics allow them."""
        with self._errors():
            target, known = self._there(table)
            schema = selected(self._root, known, columns)
            batches = lookup(target.to_pyarrow_dataset(), keys, [column_name(name) for name in columns], upto)
            return pa.Table.from_batches(from_delta(schema, batches), schema)

    def _there(self, table: str) -> tuple[DeltaTable, Table]:
        target = client.open_table(self._uri(table), self._options)
        known = None if target is None else self._known(table, target)
        if target is None or known is None:
            raise TableError(f"{self._root} has no table {table!r} of Millrace")
        return target, known

    def tables(self) -> tuple[str, ...]:
        """The tables' names, sorted."""
        with self._errors():
            files, root = self._files()
            found = files.get_file_info(pafs.FileSelector(root, allow_not_found=True))
            folders = [info.base_name for info in found if info.type == pafs.FileType.Directory]
            names = [table_name(folder) for folder in folders if not folder.lower().startswith(PREFIX)]
            return tuple(sorted(name for name in names if self._is_ours(name)))

    def describe(self, table: str) -> str:
        """A line of Python."""
        return f"deltalake.DeltaTable({self._uri(table)!r})"

    def close(self) -> None:
        """Remove staged rows."""
        if self._lazy_staging is not None:
            self._lazy_staging.close()

    def _uri(self, table: str) -> str:
        return f"{self._root}/{folder_name(table)}"

    def _is_ours(self, name: str) -> bool:
        target = client.open_table(self._uri(name), self._options)
        return target is not None and read_table(name, client.columns(target)) is not None

    def _known(self, name: str, target: DeltaTable) -> Table | None:
        schema = client.columns(target)
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
        return client.file_system(self._root, self._options), ""

    def _staging(self) -> Staging:
        if self._lazy_staging is None:
            if self._local and not os.path.isdir(os.path.dirname(self._root)):
                raise TerminalSinkError(
                    f"{self._root}: the folder above it does not exist; make it, or correct target.path"
                )
            files, root = self._files()
            self._lazy_staging = Staging(files, f"{root}/{STAGING}" if root else STAGING, f"{self._root}/{STAGING}")
        return self._lazy_staging

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """deltalake's errors and those of its storage as Millrace's, with the place."""
        try:
            yield
        except Conflict as error:
            raise TransientSinkError(f"{self._root}: another writer was faster ({_line(error)})") from error
        except (DeltaError, OSError) as error:
            raise TerminalSinkError(f"{self._root}: {_line(error)}") from error


def _ledger(target: DeltaTable | None, job: str, partitions: Sequence[TopicPartition]) -> Ledger:
    if target is None:
        return Ledger()
    return Ledger(
        client.offsets(target, job, partitions),
        client.last_truncate(target),
        client.topic_ids(target, job, sorted({source.topic for source in partitions})),
        client.starts(target, job, partitions),
        marks=client.marks(target, job, partitions),
    )


def _rewrite(target: DeltaTable, logical: tuple[pa.Schema, pa.Schema], stored: pa.Schema) -> None:
    """Copy all rows by way of the stream's own types, in one commit, batch by batch."""
    old, new = logical
    extra = list(stored)[len(new) :]
    names = [*(column_name(name) for name in old.names), *(field.name for field in extra)]
    batches = target.to_pyarrow_dataset().to_batches(columns=names)
    grown = (conform(batch, pa.schema([*new, *extra])) for batch in from_delta(pa.schema([*old, *extra]), batches))
    converted = (conform(to_delta(new, batch), stored) for batch in grown)
    client.replace(target, pa.RecordBatchReader.from_batches(stored, converted))


def _key(table: Table) -> tuple[str, ...]:
    return tuple(column_name(name) for name in table.key)


def _judge(targets: tuple[DeltaTable, DeltaTable], key: Sequence[str], delta: pa.Table, floor: bytes | None) -> Verdict:
    """The guard. A delete whose tombstone is there already, by a commit that failed, is new while its row lives."""
    target, graves = targets
    rows = find(target.to_pyarrow_dataset(), key, delta).match
    dead = find(graves.to_pyarrow_dataset(), key, delta)
    live = np.zeros(len(delta), np.bool_)
    live[rows.row] = True
    again = dead.same & (live & (np.asarray(delta.column(OP)) != UPSERT))[dead.match.row]
    return judge(delta, floor, rows, Match(dead.match.row, dead.match.newer | again))


def _write(
    target: DeltaTable, table: Table | None, rows: pa.Table | None, entry: LedgerEntry, new: bool = True
) -> None:
    """One commit: a merge where rows are replaced, deleted or truncated, else an append, else the ledger alone."""
    if table is not None and (not new or entry.truncate is not None):
        if rows is None:
            rows = delta_schema(table).append(POSITION_FIELD).append(pa.field(OP, pa.int8())).empty_table()
        pruned = prunable(rows, _key(table))
        client.merge(target, _key(table), rows, entry, pruned)
        return
    inserts = None if rows is None else rows.filter(pc.equal(rows.column(OP), UPSERT)).drop_columns([OP])
    if inserts is not None and len(inserts):
        client.append(target, inserts, entry)
    elif entry.transactions:
        client.record(target, entry)


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
