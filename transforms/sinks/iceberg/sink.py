"""Apache Iceberg: tables of one namespace, in any catalog and any object store that pyiceberg opens."""

import hashlib
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import pyarrow as pa

from ....schemas.errors import JobError, SinkError, TableError, TransientSinkError
from ....schemas.model.change import PREFIX
from ....schemas.model.ledger import Account, Commit, Ledger, TopicPartition
from ....schemas.model.table import Table, check_name, selected
from .. import Staged, TableSnapshot
from ..shared.staging import Staging
from . import ledger as ledgers
from . import table_cache
from .catalog.catalog import Conflict, IcebergCatalog
from .catalog.names import catalog_name, table_name
from .evolve import fit, opened, wanted
from .keys.keyed_table import KeyedTable
from .lookup import lookup
from .maintenance import Maintenance
from .merge import MergeAttempt
from .options import IcebergOptions
from .rows import from_stored, read_all, to_stored
from .table_format.columns import Shape
from .table_format.snapshots import Change
from .tombstones import Tombstones

LOGGER: Final = logging.getLogger("millrace")
ATTEMPTS: Final = 8
STAGING: Final = "_millrace_staging"


class IcebergSink:
    """Iceberg tables, format version 2, in the namespace `namespace`; `catalog` are pyiceberg's catalog properties.

    A table has the stream's columns (types: see `storage`) and `_millrace_position`. A commit is one snapshot: data
    files sorted by key, and position deletes of the rows that they replace; the ledger is in table properties of the
    same commit. `partition_by` is for new tables (see `partitions`). Deletes are remembered for `tombstone_retention`
    in an Iceberg table of their own, `_millrace_tombstones_<table>`, committed first: what a lost commit leaves there
    refuses only older changes. Maintenance is part of the commits (see `upkeep`); a snapshot of each while is kept for
    `time_travel`. `index_memory` bounds the index of keys that is kept between commits. Rows are staged in `staging`, a
    folder or a URL that every worker reaches; that is the warehouse unless it is named.
    """

    def __init__(self, options: IcebergOptions) -> None:
        self._options = options
        self._retention = options.tombstone_retention
        self._upkeep = Maintenance(options.time_travel)
        self._memory = options.index_memory
        self._catalog = IcebergCatalog(options.namespace, options.catalog)
        self._open: dict[str, tuple[KeyedTable, Tombstones]] = {}
        identity = (self._retention, self._memory, sorted(options.catalog.items()))
        self._place = (hashlib.sha256(repr(identity).encode()).hexdigest(), options.namespace)
        self._lazy_staging: Staging | None = None

    def stage(self, table: Table, delta: pa.RecordBatch) -> Staged:
        """Write the rows into an Arrow file in `_millrace_staging` below `staging`. Raises TerminalSinkError."""
        with self._catalog.errors():
            return self._staging().put(table, delta)

    def commit(self, table: Table, staged: Sequence[Staged], commit: Commit) -> tuple[Account, ...]:
        """Apply rows, truncate and ledger in one snapshot; after another writer's commit, again on top of it."""
        with self._catalog.errors():
            known = self._opened(table.name)
            for _ in range(ATTEMPTS):
                recent = known[0].recent
                try:
                    accounts = self._attempt(table, staged, commit)
                except Conflict:
                    self._look_again(*known)
                    continue
                except (TableError, SinkError, OSError) as error:
                    self._look_again(*known)
                    if not recent or isinstance(error, TransientSinkError):
                        raise
                    continue
                self._staging().taken(staged)
                self._tend(table.name)
                return accounts
        raise TransientSinkError(f"{self._catalog.place}.{table.name}: other writers were faster {ATTEMPTS} times")

    def _attempt(self, table: Table, staged: Sequence[Staged], commit: Commit) -> tuple[Account, ...]:
        target, graves = self._opened(table.name)
        if not target.known():
            check_name(table.name, self._tables())
        shape, change = opened(target, table.name), Change()
        identity = ledgers.commit_id(commit, staged)
        done = ledgers.recorded(target.table, commit, identity) if staged else None
        if done is not None:
            return done
        whole = wanted(target, table, [part.table for part in staged])
        if whole is not None:
            shape = fit(target, whole, self._options.partition_terms(table.name), change)
        before = ledgers.last_truncate(target.table.properties)
        floor = max(filter(None, (before, commit.truncate)), default=None)
        attempt = MergeAttempt(target, graves, shape, floor, floor if floor != before else None, change)
        accounts = self._applied(attempt, staged, commit)
        changed = ledgers.ledger_properties(target.table.properties, table.name, commit, accounts, attempt.fresh)
        if not (changed or change.files or change.deletes or change.removed or change.shape):
            return accounts
        change.properties |= changed | ledgers.commit_properties(commit.job, identity)
        change.summary = ledgers.summary(commit.job, identity, accounts)
        change.expired = self._upkeep.expired(target.table)
        target.commit(change, identity)
        attempt.learn()
        return accounts

    @staticmethod
    def _look_again(target: KeyedTable, graves: Tombstones) -> None:
        target.recent = graves.keyed.recent = False

    def _applied(self, attempt: MergeAttempt, staged: Sequence[Staged], commit: Commit) -> tuple[Account, ...]:
        shape = attempt.shape
        rows = self._staging().read(staged, shape.table.columns) if staged and shape.ids else None
        if rows is None or not len(rows):
            accounts = commit.settle({}, {})
        else:
            accounts = attempt.apply(to_stored(shape.table.columns, rows, shape), commit)
        attempt.write_deletes()
        return accounts

    def _tend(self, name: str) -> None:
        """What is due after a commit. The commit stands, whatever becomes of this."""
        target, graves = self._opened(name)
        try:
            with self._catalog.errors():
                for keyed, upkeep in ((target, self._upkeep), (graves.keyed, graves.upkeep)):
                    if keyed.table is not None and keyed.shape is not None:
                        upkeep.tend(keyed)
        except SinkError as error:
            LOGGER.warning("table %s: its maintenance is put off: %s", name, error)

    def maintain(self, table: str) -> dict[str, int]:
        """Rewrite all small and worn files, merge manifests, expire snapshots and delete files that nothing needs.

        What it did, by name. Raises TableError, TransientSinkError where other writers are always faster.
        """
        target, graves = self._opened(table)
        found = Counter[str](rewritten=0, deleted=0)
        with self._catalog.errors():
            if not target.refresh() or target.shape is None:
                raise TableError(f"{self._catalog.place} has no table {table!r} of Millrace")
            for keyed, upkeep in ((target, self._upkeep), (graves.keyed, graves.upkeep)):
                if keyed.refresh():
                    found["rewritten"] += upkeep.whole(keyed)
                    found["deleted"] += upkeep.sweep(keyed)
        return dict(found)

    def _opened(self, name: str) -> tuple[KeyedTable, Tombstones]:
        if name not in self._open:
            found = table_cache.take((*self._place, name), self._catalog)
            keyed = KeyedTable(self._catalog, catalog_name(name), self._memory)
            graves = Tombstones(self._catalog, name, self._memory, self._retention)
            self._open[name] = found or (keyed, graves)
        return self._open[name]

    def ledger(self, job: str, table: str, partitions: Sequence[TopicPartition]) -> Ledger:
        """The next offsets of these partitions; empty where there is no table yet."""
        with self._catalog.errors():
            target, _ = self._opened(table)
            return ledgers.read_ledger(target.table.properties, job, partitions) if target.refresh() else Ledger()

    def scan(self, table: str, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The rows of the newest snapshot, of the stream's own types. Raises TableError."""
        with self._catalog.errors():
            target, shape = self._there(table)
            yield from self._rows(target, shape, columns)

    def _rows(self, target: KeyedTable, shape: Shape, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        schema = selected(self._catalog.place, shape.table, columns)
        with self._catalog.errors():
            for rows in read_all(target, shape, schema.names):
                yield from from_stored(schema, rows)

    @contextmanager
    def snapshot(self, table: str) -> Iterator[TableSnapshot]:
        """The newest snapshot and the properties beside it, over an open table of its own."""
        target = KeyedTable(self._catalog, catalog_name(table), self._memory)
        with self._catalog.errors():
            found = target.refresh()

        def ledger(job: str, partitions: Sequence[TopicPartition]) -> Ledger:
            return ledgers.read_ledger(target.table.properties, job, partitions) if found else Ledger()

        def scan(columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
            if target.shape is None or not target.shape.ids:
                raise TableError(f"{self._catalog.place} has no table {table!r} of Millrace")
            return self._rows(target, target.shape, columns)

        yield TableSnapshot(target.shape is not None and bool(target.shape.ids), ledger, scan)

    def columns(self, table: str) -> pa.Schema | None:
        """The table's columns, of the stream's own types."""
        with self._catalog.errors():
            target, _ = self._opened(table)
            shape: Shape | None = target.shape if target.refresh() else None
            return shape.table.columns if shape is not None and shape.ids else None

    def lookup(self, table: str, keys: pa.Table, columns: Sequence[str], upto: bytes | None) -> pa.Table:
        """The rows of these keys, by the index of keys where they are whole. Raises TableError."""
        with self._catalog.errors():
            target, shape = self._there(table)
            return lookup(target, keys, selected(self._catalog.place, shape.table, columns), upto)

    def _there(self, table: str) -> tuple[KeyedTable, Shape]:
        target, _ = self._opened(table)
        shape = target.shape if target.refresh() else None
        if shape is None or not shape.ids:
            raise TableError(f"{self._catalog.place} has no table {table!r} of Millrace")
        return target, shape

    def tables(self) -> tuple[str, ...]:
        """The tables' names, sorted."""
        with self._catalog.errors():
            return self._tables()

    def _tables(self) -> tuple[str, ...]:
        names = [name for name in self._catalog.names() if not name.lower().startswith(PREFIX)]
        return tuple(sorted(table_name(name) for name in names if self._is_ours(name)))

    def _is_ours(self, name: str) -> bool:
        target, _ = self._opened(table_name(name))
        shape: Shape | None = target.shape if target.refresh() else None
        return shape is not None and bool(shape.ids)

    def describe(self, table: str) -> str:
        """The table's name in the catalog."""
        return f"Iceberg table {catalog_name(table)} in {self._catalog.place}"

    def close(self) -> None:
        """Remove staged rows, and let go of the catalog; what is known of keys is left to the next sink."""
        for name, kept in self._open.items():
            table_cache.put((*self._place, name), kept)
        self._open = {}
        if self._lazy_staging is not None:
            self._lazy_staging.close()
        self._catalog.drop_connections()

    def _staging(self) -> Staging:
        if self._lazy_staging is None:
            self._catalog.make_folders()
            root = self._options.staging or self._catalog.root
            if root is None:
                raise JobError(
                    "target.staging: is needed where the catalog has no `warehouse` that is a folder or a URL"
                )
            files, path = self._catalog.file_system(root)
            self._lazy_staging = Staging(files, f"{path.rstrip('/')}/{STAGING}")
        return self._lazy_staging
