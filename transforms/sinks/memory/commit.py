"""A commit to a table in memory: all verbs make a new table, and the ledger's puts it in the place of the old one."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pyarrow as pa

from ....schemas.model.ledger import Account, TopicPartition
from ....schemas.model.table import Table
from .. import Staged
from ..shared import guard
from ..shared.commit import HeldTable, TableChanges
from ..shared.guard import Verdict, chosen
from ..shared.ledger import JobLedger, LedgerChange
from ..shared.staging import Staging
from . import merge
from .tables import MemoryTable, MemoryTables


@dataclass(slots=True)
class MemoryCommit:
    """`place` names the tables. Their lock is held by the owner; `state` is seen by nobody before `write_ledger`."""

    place: str
    tables: MemoryTables
    staging: Staging
    retention: timedelta
    changes: TableChanges
    state: MemoryTable = field(init=False)

    def __post_init__(self) -> None:
        self.state = self.tables.tables.get(self.changes.name, MemoryTable())

    def already_committed(self) -> tuple[Account, ...] | None:
        """Nothing tells: the guard and the ledger refuse what is repeated."""
        return None

    def held(self) -> HeldTable:
        """What the last commit left."""
        return HeldTable(self.state.table, self.state.truncate, exists=self.changes.name in self.tables.tables)

    def names(self) -> tuple[str, ...]:
        """Of all that have columns."""
        return self.tables.names()

    def grow(self, table: Table) -> None:
        """Casts rows and tombstones where anything changes."""
        state = self.state
        if state.table is not None and state.table.columns.equals(table.columns):
            return
        rows = merge.conformed(state.rows, merge.row_columns(table))
        tombstones = merge.conformed(state.tombstones, merge.tombstone_columns(table))
        self.state = replace(state, table=table, rows=rows, tombstones=tombstones)

    def job_ledger(self, job: str, partitions: Sequence[TopicPartition]) -> JobLedger:
        """All entries of the job."""
        return self.state.job_ledger(job)

    def read(self, table: Table, staged: Sequence[Staged]) -> pa.Table:
        """The user's columns as they are held; Millrace's as they are."""
        delta = self.staging.read(staged, table.columns)
        own = list(delta.schema)[len(table.columns) :]
        return merge.conformed(delta, pa.schema([*merge.held_columns(table.columns), *own]))

    def judge(self, rows: pa.Table, floor: bytes | None) -> Verdict:
        """By an index of the delta's keys."""
        held, buried = (merge.match(one, self._key, rows) for one in (self.state.rows, self.state.tombstones))
        return guard.judge(rows, floor, held, buried)

    def truncate(self, position: bytes) -> None:
        """Filters rows and tombstones."""
        state = replace(self.state, truncate=position)
        if state.table is not None:
            rows, tombstones = merge.above(state.rows, position), merge.above(state.tombstones, position)
            state = replace(state, rows=rows, tombstones=tombstones)
        self.state = state

    def write(self, rows: pa.Table, judged: Verdict) -> None:
        """By key: the old rows and tombstones go, the new ones are put behind the others."""
        state, key = self.state, self._key
        assert state.table is not None
        new = merge.filled(state.rows, key, chosen(rows, judged.upserts)).select(state.rows.column_names)
        live = merge.without(state.rows, key, chosen(rows, judged.held(judged.rows)))
        dead = merge.without(state.tombstones, key, chosen(rows, judged.held(judged.tombstones)))
        deleted = merge.as_tombstones(state.table, chosen(rows, judged.deletes))
        self.state = replace(
            state,
            rows=pa.concat_tables([live, new]).combine_chunks(),
            tombstones=pa.concat_tables([dead, deleted]).combine_chunks(),
        )

    def prune_tombstones(self) -> None:
        """Filters them."""
        self.state = replace(self.state, tombstones=merge.kept(self.state.tombstones, self.retention))

    def write_ledger(self, change: LedgerChange) -> None:
        """Makes the commit: one assignment."""
        ledgers = {**self.state.ledgers, change.job: change.after}
        self.tables.tables[self.changes.name] = replace(self.state, ledgers=ledgers)

    @property
    def _key(self) -> tuple[str, ...]:
        assert self.state.table is not None
        return self.state.table.key
