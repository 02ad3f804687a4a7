"""Apache Iceberg: tables of one namespace, in any catalog and any object store that pyiceberg opens."""

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

import pyarrow as pa

from ....schemas.errors import JobError, SinkError, TableError, TransientSinkError
from ....schemas.model.change import PREFIX
from ....schemas.model.ledger import Account, Commit, Ledger, TopicPartition
from ....schemas.model.table import Table, selected
from .. import Staged, TableSnapshot
from ..shared.commit import Conflict, TableChanges, commit_changes
from ..shared.drift import InspectedTable
from ..shared.resync import Swap
from ..shared.staging import Staging
from ..shared.staging_folders import folder_in
from . import drift, table_cache
from . import ledger as ledgers
from . import swap as swaps
from .catalog.catalog import IcebergCatalog
from .catalog.names import catalog_name, table_name
from .commit import IcebergCommit, IcebergTarget
from .evolve import rename
from .keys.keyed_table import KeyedTable
from .lookup import lookup
from .maintenance import Maintenance
from .options import IcebergOptions
from .rows import from_stored, read_all
from .table_format.columns import Shape
from .tombstones import Tombstones

LOGGER: Final = logging.getLogger("millrace")
ATTEMPTS: Final = 8
STAGING: Final = "_millrace_staging"


class IcebergSink:
    """Iceberg tables, format version 2, in the namespace `namespace`; `catalog` are pyiceberg's catalog properties.

    A table has the stream's columns (types: see `table_format.types`) and `_millrace_position`. A commit is one
    snapshot: data files sorted by key, and position deletes of the rows that they replace; the ledger is in table
    properties of the same commit. `partition_by` is for new tables (see `table_format.partitions`). Deletes are
    remembered for `tombstone_retention` in an Iceberg table of their own, `_millrace_tombstones_<table>`, committed
    first: what a lost commit leaves there refuses only older changes. Maintenance is part of the commits (see
    `maintenance`); a snapshot of each while is kept for `time_travel`. `index_memory` bounds the index of keys that is
    kept between commits. Rows are staged in `staging`, a folder or a URL that every worker reaches; that is the
    warehouse unless it is named.
    """

    def __init__(self, options: IcebergOptions) -> None:
        self._options = options
        self._retention = options.tombstone_retention
        self._maintenance = Maintenance(options.time_travel)
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
        changes, place = TableChanges(table, staged, commit), f"{self._catalog.place}.{table.name}"
        with self._catalog.errors():
            accounts = commit_changes(partial(self._transaction, changes), changes, place, ATTEMPTS)
            self._staging().taken(staged)
            self._maintain_if_due(table.name)
        return accounts

    def _transaction(self, changes: TableChanges) -> "_Transaction":
        target, tombstones = self._opened(changes.name)
        on = IcebergTarget(
            target,
            tombstones,
            self._staging(),
            self._maintenance,
            self._options.partition_terms(changes.name),
            self._tables,
        )
        return _Transaction(IcebergCommit(on, changes), target.recent)

    def _maintain_if_due(self, name: str) -> None:
        """What is due after a commit. The commit stands, whatever becomes of this."""
        target, tombstones = self._opened(name)
        try:
            with self._catalog.errors():
                for keyed, maintenance in ((target, self._maintenance), (tombstones.keyed, tombstones.maintenance)):
                    if keyed.table is not None and keyed.shape is not None:
                        maintenance.maintain_if_due(keyed)
        except SinkError as error:
            LOGGER.warning("table %s: its maintenance is put off: %s", name, error)

    def maintain(self, table: str) -> dict[str, int]:
        """Rewrite small and mostly deleted files, merge manifests, expire snapshots, delete files that nothing needs.

        What it did, by name. Raises TableError, TransientSinkError where other writers are always faster.
        """
        target, tombstones = self._opened(table)
        found = Counter[str](rewritten=0, deleted=0)
        with self._catalog.errors():
            if not target.refresh() or target.shape is None:
                raise TableError(f"{self._catalog.place} has no table {table!r} of Millrace")
            for keyed, maintenance in ((target, self._maintenance), (tombstones.keyed, tombstones.maintenance)):
                if keyed.refresh():
                    found["rewritten"] += maintenance.whole(keyed)
                    found["deleted"] += maintenance.sweep(keyed)
        return dict(found)

    def _opened(self, name: str) -> tuple[KeyedTable, Tombstones]:
        if name not in self._open:
            found = table_cache.take((*self._place, name), self._catalog)
            keyed = KeyedTable(self._catalog, catalog_name(name), self._memory)
            tombstones = Tombstones(self._catalog, name, self._memory, self._retention)
            self._open[name] = found or (keyed, tombstones)
        return self._open[name]

    def ledger(self, job: str, table: str, partitions: Sequence[TopicPartition]) -> Ledger:
        """The next offsets of these partitions; empty where there is no table yet."""
        with self._catalog.errors():
            target, _ = self._opened(table)
            return _ledger(target, job, partitions) if target.refresh() else Ledger()

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
            return _ledger(target, job, partitions) if found else Ledger()

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

    def inspect(self, table: str) -> InspectedTable:
        """The table, and what others changed in it."""
        with self._catalog.errors():
            found = self._catalog.load(catalog_name(table))
            return InspectedTable() if found is None else drift.inspect(found)

    def rename(self, table: str, names: Mapping[str, str]) -> None:
        """The schema alone: files know their columns by id.

        Raises TransientSinkError where other writers are always faster.
        """
        self._alone(table, partial(self._rename, table, names))

    def _rename(self, table: str, names: Mapping[str, str]) -> None:
        target, _ = self._opened(table)
        if target.refresh():
            rename(target, names)

    def jobs(self, table: str) -> tuple[str, ...]:
        """By the table's properties."""
        with self._catalog.errors():
            return swaps.jobs(self._opened(table)[0])

    def swap(self, swap: Swap) -> None:
        """All rows are written anew, with the ledger, in one snapshot."""
        live, beside = (swaps.OpenTable(*self._opened(name)) for name in (swap.table, swap.beside))
        terms = self._options.partition_terms(swap.table)
        self._alone(swap.table, partial(swaps.swap, live, beside, swap, terms))

    def drop(self, table: str) -> None:
        """The table and its tombstones, with their files."""
        with self._catalog.errors():
            target, tombstones = self._opened(table)
            for keyed in (target, tombstones.keyed):
                keyed.recent = False
                self._catalog.drop(keyed.name)

    def _alone(self, table: str, work: Callable[[], None]) -> None:
        """A commit that brings no changes. Raises TransientSinkError where other writers are always faster."""
        for _ in range(ATTEMPTS):
            with self._catalog.errors():
                try:
                    return work()
                except Conflict:
                    self._opened(table)[0].recent = False
        raise TransientSinkError(f"{self._catalog.place}.{table}: other writers were faster {ATTEMPTS} times")

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
        try:
            shape: Shape | None = target.shape if target.refresh() else None
        except TableError:  # whoever asks for it hears why
            return True
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
            self._lazy_staging = Staging(folder_in(files, f"{path.rstrip('/')}/{STAGING}"))
        return self._lazy_staging


def _ledger(target: KeyedTable, job: str, partitions: Sequence[TopicPartition]) -> Ledger:
    properties = target.table.properties
    return ledgers.read(properties, job, partitions).of(partitions, ledgers.last_truncate(properties))


@dataclass(frozen=True, slots=True)
class _Transaction:
    """On top of the newest snapshot, or where `recent` of one committed here just now, which may be the newest no more.

    What failed on such a one is no error yet: the next attempt reads the newest. A class, since `contextmanager` sets
    an attribute of what passes through it, and errors of a Hive metastore refuse that.
    """

    commit: IcebergCommit
    recent: bool

    def __enter__(self) -> IcebergCommit:
        return self.commit

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if not isinstance(error, Conflict | TableError | SinkError | OSError):
            return
        self.commit.on.table.recent = self.commit.on.tombstones.keyed.recent = False
        if self.recent and not isinstance(error, Conflict | TransientSinkError):
            raise Conflict(str(error)) from error
