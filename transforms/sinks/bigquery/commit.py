"""A commit to a BigQuery table: columns, then a TRUNCATE, then the rows, and the ledger last.

There is no transaction. BigQuery itself keeps the change with the largest sequence number of each key, so what is
repeated after a crash changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import pyarrow as pa

from ....schemas.model.change import SOURCE
from ....schemas.model.ledger import Account, TopicPartition
from ....schemas.model.table import Table
from .. import Staged
from ..shared.commit import Counts, HeldTable, TableChanges
from ..shared.guard import NOTHING, chosen, judge
from ..shared.ledger import JobLedger, LedgerChange
from ..shared.partial_rows import partial_rows
from ..shared.staging import Staging
from .catalog import Catalog, Known
from .client import Dataset
from .columns import bigquery_name, check_growth, check_table
from .merge import Changes, changes, check_keys, filled, truncated, write
from .tables import check_fresh, ensure


@dataclass(frozen=True, slots=True)
class AcceptedRows:
    """The rows above the last TRUNCATE, and the same as BigQuery takes them."""

    counts: Counts
    rows: pa.Table
    requests: Sequence[Changes]
    partial: bool


@dataclass(slots=True)
class BigQueryCommit:
    """`known` is what the catalog says before the commit, `table` and `floor` what it will say."""

    dataset: Dataset
    catalog: Catalog
    staging: Staging
    staleness: timedelta
    changes: TableChanges
    known: Known | None = None
    table: Table | None = None
    floor: bytes | None = None
    ensured: bool = False
    prepared: bool = False

    @property
    def place(self) -> str:
        """The data set."""
        return str(self.dataset)

    def already_committed(self) -> tuple[Account, ...] | None:
        """Nothing tells: sequence numbers and the ledger refuse what is repeated."""
        return None

    def held(self) -> HeldTable:
        """As all jobs' rows in `_millrace_tables` say together; a ledger alone makes no table."""
        known = self.known = self.catalog.known(self.changes.name)
        self.table, self.floor = known.table, known.floor
        return HeldTable(known.table, known.floor, exists=True)

    def names(self) -> tuple[str, ...]:
        """From `_millrace_tables`."""
        return self.catalog.names()

    def grow(self, table: Table) -> None:
        """Only checked here, and done by the first verb that writes."""
        check_table(table)
        if self.table is not None:
            check_growth(table.name, self.table.columns, table.columns)
        self.table = table

    def job_ledger(self, job: str, partitions: Sequence[TopicPartition]) -> JobLedger:
        """From `_millrace_ledger`."""
        return self.catalog.job_ledger(job, self.changes.name)

    def read(self, table: Table, staged: Sequence[Staged]) -> pa.Table:
        """In the stream's own types."""
        return self.staging.read(staged, table.columns)

    def judge(self, rows: pa.Table, floor: bytes | None) -> AcceptedRows:
        """By the last TRUNCATE alone: BigQuery compares positions itself. Refuses keys with NULL."""
        verdict = judge(rows, floor, NOTHING, NOTHING)
        check_keys(self._grown, rows)
        accepted = chosen(rows, verdict.accepted).drop_columns([SOURCE])
        partial = bool(partial_rows(accepted).any())
        if partial:
            check_fresh(self.dataset, self._name, "a row without its large values")
        return AcceptedRows(verdict.counts, accepted, changes(self._grown, accepted), partial)

    def truncate(self, position: bytes) -> None:
        """Each row that is there, by its key, with the TRUNCATE's sequence number.

        The position is kept after that: a commit that is killed in between deletes again.
        """
        if self.table is not None:
            check_fresh(self.dataset, self._name, "a TRUNCATE")
            self._ensure()
            truncated(self.dataset, self._name, self.table, position)
        self.floor = position

    def write(self, rows: pa.Table, judged: AcceptedRows) -> None:
        """Over the Storage Write API; BigQuery remembers deletes itself."""
        self._prepare()
        requests = judged.requests
        if judged.partial:
            requests = changes(self._grown, filled(self.dataset, self._name, self._grown, judged.rows))
        write(self.dataset, self._name, *requests)

    def prune_tombstones(self) -> None:
        """BigQuery does so."""

    def write_ledger(self, change: LedgerChange) -> None:
        """The entries that changed."""
        self._prepare()
        self.catalog.advance(change)

    def _prepare(self) -> None:
        """Bring the table to its columns, then keep what is known of it, once a commit."""
        self._ensure()
        if self.prepared or self.known is None:
            return
        self.prepared = True
        if self.table is not None or self.changes.commit.truncate is not None:
            self.catalog.save(self.changes.commit.job, self.changes.name, self.known, self.table, self.floor)

    def _ensure(self) -> None:
        if self.ensured or self.known is None or self.table is None:
            return
        self.ensured = True
        ensure(self.dataset, self._name, self.known.table, self.table, self.staleness)

    @property
    def _name(self) -> str:
        return bigquery_name(self.changes.name, "table")

    @property
    def _grown(self) -> Table:
        assert self.table is not None
        return self.table
