"""A commit to an Iceberg table: rows, TRUNCATE and ledger are one snapshot; tombstones are committed before it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from ....schemas.model.change import POSITION
from ....schemas.model.ledger import Account, TopicPartition
from ....schemas.model.table import Table
from .. import Staged
from ..shared.commit import HeldTable, TableChanges
from ..shared.guard import Match, Verdict, at_most, chosen, judge
from ..shared.ledger import JobLedger, LedgerChange
from ..shared.partial_rows import partial_rows
from ..shared.staging import Staging
from . import ledger
from .evolve import fit, opened, spec_of
from .keys.keyed_table import Found, KeyedTable
from .maintenance import Maintenance
from .rows import fill, key_arrays, to_stored, write
from .table_format.columns import Shape
from .table_format.data_files import Numbers
from .table_format.manifests import united
from .table_format.snapshots import Change
from .tombstones import Tombstones


@dataclass(frozen=True, slots=True)
class IcebergTarget:
    """What commits to one table share, attempt by attempt."""

    table: KeyedTable
    tombstones: Tombstones
    staging: Staging
    maintenance: Maintenance
    terms: Sequence[tuple[str, str]]
    """The partitions of a table that begins here (see `partitions`)."""
    names: Callable[[], tuple[str, ...]]


@dataclass(slots=True)
class IcebergCommit:
    """`change` is what the snapshot will hold; the catalog refuses it where another was committed since."""

    on: IcebergTarget
    changes: TableChanges
    change: Change = field(default_factory=Change)
    shape: Shape | None = None
    truncated: bytes | None = None
    held_rows: Found | None = None
    replaced: Found | None = None
    added: list[tuple[Any, list[pa.Array]]] = field(default_factory=list)
    deleted: dict[int, list[Numbers]] = field(default_factory=dict)
    """Rows to delete, by the number of their file."""

    @property
    def place(self) -> str:
        """The catalog and its namespace."""
        return self.on.table.catalog.place

    def already_committed(self) -> tuple[Account, ...] | None:
        """From the summaries of the table's snapshots."""
        if not self.changes.staged or not self.on.table.known():
            return None
        return ledger.recorded(self.on.table.table, self.changes.commit, self._identity)

    def held(self) -> HeldTable:
        """Of the newest snapshot. Raises TerminalSinkError for a table that Millrace did not make."""
        if not self.on.table.known():
            return HeldTable()
        shape = self._opened()
        return HeldTable(shape.table if shape.ids else None, ledger.last_truncate(self._properties), exists=True)

    def names(self) -> tuple[str, ...]:
        """From the catalog."""
        return self.on.names()

    def grow(self, table: Table) -> None:
        """With the snapshot, or by a commit of its own where files must be rewritten."""
        self._opened()
        self.shape = fit(self.on.table, table, self.on.terms, self.change)

    def job_ledger(self, job: str, partitions: Sequence[TopicPartition]) -> JobLedger:
        """From the table's properties; a table for the ledger alone is made here."""
        self._opened()
        return ledger.read(self._properties, job, partitions)

    def read(self, table: Table, staged: Sequence[Staged]) -> pa.Table:
        """The user's columns as the table stores them."""
        return to_stored(table.columns, self.on.staging.read(staged, table.columns), self._opened())

    def judge(self, rows: pa.Table, floor: bytes | None) -> Verdict:
        """By the index of keys, and the positions of files that may hold newer ones."""
        shape = self._opened()
        keys = key_arrays(rows, shape.table)
        found = self.held_rows = self.on.table.find(keys)
        held = Match(found.row, self.on.table.newer(found, rows.column(POSITION).combine_chunks()))
        return judge(rows, floor, held, self.on.tombstones.find(shape, rows, keys, self._properties))

    def truncate(self, position: bytes) -> None:
        """Done by `write_ledger`. Tombstones at or below it stay: what they refuse is gone already."""
        self.truncated = position

    def write(self, rows: pa.Table, judged: Verdict) -> None:
        """Commits the tombstones, and writes data files, which no snapshot has before `write_ledger`."""
        assert self.held_rows is not None
        target, shape = self.on.table, self._opened()
        if judged.deletes.any():
            self.change.properties |= self.on.tombstones.write(shape, chosen(rows, judged.deletes), self._properties)
        replaced = self.replaced = self.held_rows.where(judged.accepted[self.held_rows.row])
        partial = judged.upserts & partial_rows(rows)
        filled = fill(target, rows, replaced, partial, self.truncated)
        self.added = write(target.files, shape, spec_of(target, self.change), chosen(filled, judged.upserts))
        self.change.files += [data for data, _ in self.added]
        for number, mine in replaced.by_file():
            self.deleted.setdefault(number, []).append(replaced.at[mine])

    def prune_tombstones(self) -> None:
        """Done with tombstones that are written, and by maintenance."""

    def write_ledger(self, change: LedgerChange) -> None:
        """Commit the snapshot, where anything changes."""
        self._write_deletes()
        target, snapshot = self.on.table, self.change
        changed = ledger.changed_properties(self._properties, change, self.truncated)
        if not (changed or snapshot.files or snapshot.deletes or snapshot.removed or snapshot.shape):
            return
        # A commit of the ledger alone is not this commit: that is made again.
        identity = self._identity if change.accounts else f"{self._identity}-ledger"
        snapshot.properties |= changed | ledger.commit_properties(change.job, identity)
        snapshot.summary = ledger.summary(change, identity)
        snapshot.expired = self.on.maintenance.expired(target.table)
        target.commit(snapshot, identity)
        if self.truncated is not None:
            target.forget_index()
        elif self.replaced is not None:
            target.learn(self.added, self.replaced)

    @property
    def _identity(self) -> str:
        return ledger.commit_id(self.changes.commit, self.changes.staged)

    @property
    def _properties(self) -> dict[str, str]:
        properties: dict[str, str] = self.on.table.table.properties
        return properties

    def _opened(self) -> Shape:
        """The table's columns as this commit leaves them; the table is made where there is none."""
        if self.shape is None:
            self.shape = opened(self.on.table, self.changes.name)
        return self.shape

    def _write_deletes(self) -> None:
        """Position deletes of the rows that were replaced, deleted or truncated."""
        target = self.on.table
        if self.truncated is not None:
            self._truncate(self.truncated)
        files = target.layout.numbers
        for number, parts in self.deleted.items():
            target.delete_rows(files[number], united(parts, files[number].rows), self.change)

    def _truncate(self, limit: bytes) -> None:
        """Delete the rows at or below `limit`: whole files by their bounds, others by reading the positions."""
        target, position_id = self.on.table, self._opened().position_id
        for file in list(target.layout.files.values()):
            bounds = (file.data.lower_bounds, file.data.upper_bounds)
            lower, upper = ((bound or {}).get(position_id) for bound in bounds)
            if upper is not None and upper <= limit:
                self.deleted.pop(file.number, None)
                target.drop(file, self.change)
            elif lower is None or lower <= limit or (file.data.null_value_counts or {}).get(position_id):
                positions = target.files.read(file.path, target.fields([position_id])).column(0)
                below = np.flatnonzero(at_most(positions, limit))
                live = below[~np.isin(below, file.dead_rows(target.files))]
                self.deleted.setdefault(file.number, []).append(live)
