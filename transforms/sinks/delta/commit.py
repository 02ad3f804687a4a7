"""A commit to a Delta table: rows, TRUNCATE and ledger are one Delta commit; columns and tombstones come before it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from ....schemas.model.change import OP, POSITION, SOURCE, UPSERT
from ....schemas.model.ledger import Account, TopicPartition
from ....schemas.model.table import Table
from .. import Staged
from ..shared.commit import HeldTable, TableChanges
from ..shared.guard import Verdict, chosen, judge
from ..shared.ledger import JobLedger, LedgerChange
from ..shared.staging import Staging
from . import client
from .client import DeltaTable
from .columns import POSITION_FIELD, column_name, delta_schema, to_delta
from .merge import fill, find, prunable
from .tables import DELETED_AT, DeltaTables

COMPACT_FILES: Final = 32


@dataclass(slots=True)
class DeltaCommit:
    """`target` is the version that the commit builds on: it fails where another was made since."""

    tables: DeltaTables
    staging: Staging
    retention: timedelta
    changes: TableChanges
    target: DeltaTable | None = None
    table: Table | None = None
    tombstones: DeltaTable | None = None
    truncated: bytes | None = None
    rows: pa.Table | None = None
    replaces: bool = False

    @property
    def place(self) -> str:
        """The table's folder."""
        return self.tables.uri(self.changes.name)

    def already_committed(self) -> tuple[Account, ...] | None:
        """Nothing tells: the guard and the ledger refuse what is repeated."""
        return None

    def held(self) -> HeldTable:
        """Of the newest version."""
        self.target = self.tables.open(self.changes.name)
        if self.target is None:
            return HeldTable()
        self.table = self.tables.columns(self.changes.name, self.target)
        return HeldTable(self.table, client.last_truncate(self.target), exists=True)

    def names(self) -> tuple[str, ...]:
        """Opens all tables."""
        return self.tables.names()

    def grow(self, table: Table) -> None:
        """By a commit of its own, where anything changes."""
        self.target, self.table = self.tables.grown(self.target, table), table

    def job_ledger(self, job: str, partitions: Sequence[TopicPartition]) -> JobLedger:
        """From the version's transaction identifiers; a table for the ledger alone is made here."""
        if self.target is None:
            self.target = self.tables.grown(None, Table(self.changes.name, (), pa.schema([])))
        return client.job_ledger(self.target, job, partitions)

    def read(self, table: Table, staged: Sequence[Staged]) -> pa.Table:
        """The user's columns as Delta stores them."""
        rows = self.staging.read(staged, table.columns)
        return pa.Table.from_batches([to_delta(table.columns, batch) for batch in rows.to_batches()])

    def judge(self, rows: pa.Table, floor: bytes | None) -> Verdict:
        """By a pass over the keys and positions of the files near the delta's keys."""
        assert self.target is not None and self.table is not None
        self.tombstones = self.tables.tombstones(self.table, client.tombstones_at(self.target))
        held = find(self.target.to_pyarrow_dataset(), self._key, rows)
        return judge(rows, floor, held, find(self.tombstones.to_pyarrow_dataset(), self._key, rows))

    def truncate(self, position: bytes) -> None:
        """Done by `write_ledger`. Tombstones at or below it stay: what they refuse is gone already."""
        self.truncated = position

    def write(self, rows: pa.Table, judged: Verdict) -> None:
        """Commits the tombstones, and prepares the rows for `write_ledger`."""
        assert self.target is not None
        self._write_tombstones(chosen(rows, judged.deletes))
        accepted = chosen(rows, judged.accepted)
        filled = fill(self.target.to_pyarrow_dataset(), self._key, accepted, self.truncated)
        self.rows = filled.drop_columns([SOURCE])
        self.replaces = bool(judged.held(judged.rows).any())

    def prune_tombstones(self) -> None:
        """Done by `write`."""

    def write_ledger(self, change: LedgerChange) -> None:
        """One commit: a merge where rows are replaced, deleted or truncated, else an append, else the ledger alone."""
        assert self.target is not None
        entry = client.ledger_entry(change, self.truncated)
        if self.tombstones is not None:
            entry = client.with_tombstones(entry, self.target, self.tombstones)
        if self.table is not None and (self.replaces or self.truncated is not None):
            rows = self.rows
            if rows is None:
                rows = delta_schema(self.table).append(POSITION_FIELD).append(pa.field(OP, pa.int8())).empty_table()
            client.merge(self.target, self._key, rows, entry, prunable(rows, self._key))
            return
        inserts = None if self.rows is None else self.rows.filter(pc.equal(self.rows.column(OP), UPSERT))
        if inserts is not None and len(inserts):
            client.append(self.target, inserts.drop_columns([OP]), entry)
        elif entry.transactions:
            client.record(self.target, entry)

    @property
    def _key(self) -> tuple[str, ...]:
        """The key columns by their names in the Delta table."""
        assert self.table is not None
        return tuple(column_name(name) for name in self.table.key)

    def _write_tombstones(self, deleted: pa.Table) -> None:
        """Add tombstones; forget the old ones where any is too old, or where small files add up."""
        tombstones = self.tombstones
        assert tombstones is not None
        now = datetime.now(UTC)
        limit = pa.scalar(now - self.retention, DELETED_AT.type)
        held, age = tombstones.to_pyarrow_dataset(), pc.field(DELETED_AT.name)
        if held.count_rows(filter=age < limit) or len(held.files) > COMPACT_FILES:
            client.replace(tombstones, held.to_table(filter=age >= limit))
            tombstones.vacuum(dry_run=False)
        if len(deleted):
            added = deleted.select([*self._key, POSITION])
            added = added.append_column(DELETED_AT, pa.repeat(pa.scalar(now, DELETED_AT.type), len(added)))
            client.append(tombstones, added)
