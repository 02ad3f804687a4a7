"""A commit to a DuckDB table: all verbs in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import pyarrow as pa

from .....schemas.model.ledger import Account, TopicPartition
from .....schemas.model.table import Table
from ... import Staged
from ..commit import HeldTable, TableChanges
from ..guard import Verdict
from ..ledger import JobLedger, LedgerChange
from ..staging import Staging
from . import catalog, ledger, merge
from .catalog import Connection


@dataclass(slots=True)
class DuckDBCommit:
    """`place` is the file. The connection is in a transaction, which its owner ends."""

    place: str
    con: Connection
    staging: Staging
    retention: timedelta
    changes: TableChanges
    table: Table | None = None

    def already_committed(self) -> tuple[Account, ...] | None:
        """Nothing tells: the guard and the ledger refuse what is repeated."""
        return None

    def held(self) -> HeldTable:
        """From `_millrace_tables`, which is made where it is not there yet."""
        for statement in catalog.OWN_TABLES:
            self.con.execute(statement)
        held = catalog.held(self.con, self.changes.name)
        self.table = held.table
        return held

    def names(self) -> tuple[str, ...]:
        """From `_millrace_tables`."""
        return catalog.names(self.con)

    def grow(self, table: Table) -> None:
        """CREATE TABLE, ALTER TABLE, or a copy of the table where a type changes."""
        catalog.grow(self.con, self.table, table, self.place)
        self.table = table

    def job_ledger(self, job: str, partitions: Sequence[TopicPartition]) -> JobLedger:
        """From `_millrace_ledger`."""
        return ledger.read(self.con, job, self.changes.name)

    def read(self, table: Table, staged: Sequence[Staged]) -> pa.Table:
        """The user's columns as DuckDB stores them."""
        return merge.as_stored(table, self.staging.read(staged, table.columns))

    def judge(self, rows: pa.Table, floor: bytes | None) -> Verdict:
        """By two joins on the key."""
        return merge.judge(self.con, self._grown, rows, floor)

    def truncate(self, position: bytes) -> None:
        """Two DELETEs."""
        catalog.save_truncate(self.con, self.changes.name, position)
        if self.table is not None:
            merge.truncate(self.con, self.table, position)

    def write(self, rows: pa.Table, judged: Verdict) -> None:
        """By key: DELETE, then INSERT."""
        merge.write(self.con, self._grown, rows, judged)

    def prune_tombstones(self) -> None:
        """One DELETE."""
        merge.prune(self.con, self._grown, self.retention)

    def write_ledger(self, change: LedgerChange) -> None:
        """The job's rows anew."""
        ledger.write(self.con, change)

    @property
    def _grown(self) -> Table:
        assert self.table is not None
        return self.table
