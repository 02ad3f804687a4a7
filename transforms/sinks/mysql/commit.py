"""A commit to a MySQL table: columns first, then all rows and the ledger in one transaction.

CREATE and ALTER TABLE commit whatever is open, so the transaction begins after them. It locks the table's row in
`_millrace_tables` and sees there whether another commit came first since its beginning. The guard decides in SQL.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import pyarrow as pa

from ....schemas.errors import TransientSinkError
from ....schemas.model.change import DELETE
from ....schemas.model.ledger import Account, TopicPartition
from ....schemas.model.spelling import spellings
from ....schemas.model.table import Table
from .. import Staged
from ..shared.commit import Conflict, Counts, HeldTable, TableChanges
from ..shared.ledger import JobLedger, LedgerChange
from . import catalog, evolve, ledger, merge, staging, unfinished
from .catalog import TABLES, Kept, Known
from .client import Session
from .columns import converts, is_limited
from .merge import Guard, Judgement, RowCounts
from .staging import Part


@dataclass(frozen=True, slots=True)
class StagedRows:
    """The staged deltas, and how many rows they have."""

    parts: Sequence[Part]
    count: int


@dataclass(frozen=True, slots=True)
class JudgedRows:
    """How many rows there are of each source and kind, by whether the guard accepts them; the floor that it used."""

    judgement: Judgement
    floor: bytes | None

    @property
    def by_kind(self) -> RowCounts:
        return self.judgement.by_kind

    @property
    def counts(self) -> Counts:
        """By source number; rows without a source are not counted."""
        counts = Counts(Counter(), Counter())
        for (source, _, accepted), rows in self.by_kind.items():
            if source >= 0:
                (counts.applied if accepted else counts.superseded)[source] += rows
        return counts

    @property
    def guard(self) -> Guard:
        """What still has to be compared when they are written: nothing where all were accepted."""
        return Guard(
            self.floor,
            refuses=any(not accepted for _, _, accepted in self.by_kind),
            deletes=any(accepted and op == DELETE for _, op, accepted in self.by_kind),
            meets=self.judgement.tombstones > 0,
        )


@dataclass(slots=True)
class MySqlCommit:
    """The session's owner holds the table's lock, and ends the transaction where one has `begun`."""

    session: Session
    retention: timedelta
    changes: TableChanges
    known: Known = field(default_factory=lambda: Known(""))
    kept: Kept | None = None
    begun: bool = False
    staged_again: list[str] = field(default_factory=list)

    @property
    def place(self) -> str:
        """The database."""
        return f"database {self.session.database}"

    def already_committed(self) -> tuple[Account, ...] | None:
        """Nothing tells: the guard and the ledger refuse what is repeated."""
        return None

    def held(self) -> HeldTable:
        """What the last commit left, after a growth or swap that did not end has been."""
        catalog.registered(self.session, self.changes.name)
        self.known = unfinished.settled(self.session, self.changes.name)
        if self.known.table is not None:
            self.kept = catalog.untouched(self.session, self.known.table)
        return self.known.held

    def names(self) -> tuple[str, ...]:
        """Those of all tables with columns, or that get some; no other commit makes one of these names now."""
        catalog.lock_names(self.session)
        return catalog.names(self.session, "columns IS NOT NULL OR growing IS NOT NULL")

    def grow(self, table: Table) -> None:
        """CREATE TABLE or ALTER TABLE."""
        self.kept = evolve.grow(self.session, self.known, table)

    def job_ledger(self, job: str, partitions: Sequence[TopicPartition]) -> JobLedger:
        """From `_millrace_ledger`."""
        return ledger.read(self.session, job, self.changes.name)

    def read(self, table: Table, staged: Sequence[Staged]) -> StagedRows:
        """The staged tables, with companions in the table for what is out of range. Raises TransientSinkError."""
        parts = self._parts(staged)
        self.kept = catalog.with_beyond(self.session, self._there, _beyond(self._there, parts))
        self._begin()
        return StagedRows(parts, sum(part.rows for part in staged))

    def judge(self, rows: StagedRows, floor: bytes | None) -> JudgedRows:
        """One query a staged delta; rows that are missing are noticed by their number."""
        judged = JudgedRows(merge.judge(self.session, self._there, rows.parts, floor), floor)
        if sum(judged.by_kind.values()) != rows.count:
            raise self._gone()
        return judged

    def truncate(self, position: bytes) -> None:
        """Two DELETEs."""
        self._begin()
        catalog.save_truncate(self.session, self.changes.name, position)
        if self.kept is not None:
            merge.truncate(self.session, self.kept, position)

    def write(self, rows: StagedRows, judged: JudgedRows) -> None:
        """One INSERT ... ON DUPLICATE KEY UPDATE, one DELETE, and two statements for the tombstones, a staged delta."""
        for part in rows.parts:
            merge.write(self.session, self._there, part, judged.guard)

    def prune_tombstones(self) -> None:
        """One DELETE."""
        self._begin()
        merge.prune(self.session, self._there, self.retention)

    def write_ledger(self, change: LedgerChange) -> None:
        """The job's rows anew."""
        self._begin()
        ledger.write(self.session, change)

    def end(self) -> None:
        """Commit what has begun."""
        if self.begun:
            self.session.con.commit()
            self.begun = False

    def _begin(self) -> None:
        """Begin the transaction that has all rows and the ledger. Raises Conflict where another commit came first."""
        if self.begun:
            return
        self.session.con.begin()
        self.begun = True
        now = catalog.known(self.session, self.changes.name, " FOR UPDATE")
        if now.commits != self.known.commits or now.unfinished:
            raise Conflict
        self.session.run(
            f"UPDATE {self.session.bound(TABLES)} SET commits = commits + 1 WHERE table_name = %s", [self.changes.name]
        )

    @property
    def _there(self) -> Kept:
        assert self.kept is not None
        return self.kept

    def _parts(self, staged: Sequence[Staged]) -> list[Part]:
        """The staged tables; those whose values MySQL does not convert to the table's types are staged again."""
        parts = staging.find(self.session, [part.uri for part in staged], [part.table for part in staged])
        if parts is None:
            raise self._gone()
        return [self._again(part) if _needs_arrow(part, self._there.table) else part for part in parts]

    def _again(self, part: Part) -> Part:
        table = self._there.table
        name = staging.put_again(self.session, table, part)
        self.staged_again.append(name)
        found = staging.find(self.session, [name], [table])
        if found is None:
            raise self._gone()
        return found[0]

    def _gone(self) -> TransientSinkError:
        return TransientSinkError(
            f"the staged rows of table {self.changes.name} are gone: their worker was stopped, or another server "
            "answers now; run the job again"
        )


def _beyond(kept: Kept, parts: Sequence[Part]) -> frozenset[int]:
    """The numbers of the table's columns for which a part holds values beyond MySQL's range."""
    names = [part.table.columns.names[int(column[1:])] for part in parts for column in part.companions("b")]
    fields = kept.table.columns
    return frozenset(fields.get_field_index(name) for name in names if is_limited(fields.field(name).type))


def _needs_arrow(part: Part, table: Table) -> bool:
    """Whether SQL cannot bring staged rows into these columns: a type is converted by Arrow, or a name respelled."""
    if spellings(part.table.columns.names, table.columns.names):
        return True
    for number, of_part in enumerate(part.table.columns):
        kind = table.columns.field(of_part.name).type
        same = of_part.type.equals(kind) or pa.types.is_floating(kind)
        if not converts(of_part.type, kind) or (f"b{number}" in part.columns and not same):
            return True
    return False
