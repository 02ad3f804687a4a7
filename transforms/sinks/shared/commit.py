"""How a commit goes, for every target: the order of its steps, the accounts, the ledger and the errors.

A target brings the steps as verbs (`CommitTarget`, in the `commit.py` of its folder). It may carry them out as it
likes: row by row over Arrow arrays, by one SQL statement over all rows, or by one write at the end.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from ....schemas.errors import EpochBegunError, TransientSinkError
from ....schemas.model.ledger import Account, Commit, TopicPartition
from ....schemas.model.table import Table, check_name, enlarged
from .. import Staged
from .ledger import JobLedger, LedgerChange

RowsT = TypeVar("RowsT")
"""The staged rows as a target compares them: an Arrow table, a query, runs of a log."""
JudgedT = TypeVar("JudgedT", bound="Judged")


class Conflict(Exception):
    """Another writer's commit came first: what was decided may be wrong by now, and is decided again."""


@dataclass(frozen=True, slots=True)
class HeldTable:
    """What a target has under a table's name.

    `table` is None before the first row. `truncate` is the position of the last TRUNCATE. `exists`: there is something
    already, a ledger at least.
    """

    table: Table | None = None
    truncate: bytes | None = None
    exists: bool = False


@dataclass(frozen=True, slots=True)
class Counts:
    """Changes that the guard accepted and refused, by source number (`_millrace_source`)."""

    applied: Counter[int] = field(default_factory=Counter)
    superseded: Counter[int] = field(default_factory=Counter)


class Judged(Protocol):
    """What the guard said of the staged rows."""

    @property
    def counts(self) -> Counts:
        """How many it accepted and refused."""


@dataclass(frozen=True, slots=True)
class TableChanges:
    """What one commit brings to one table."""

    table: Table
    staged: Sequence[Staged]
    commit: Commit

    @property
    def name(self) -> str:
        """The table's name."""
        return self.table.name

    @property
    def has_columns(self) -> bool:
        """Whether the commit says what columns the table has; one that only moves the ledger does not."""
        return bool(self.staged or len(self.table.columns))

    @property
    def sources(self) -> list[TopicPartition]:
        """The partitions of its accounts."""
        return [account.source for account in self.commit.accounts]


class CommitTarget(Protocol[RowsT, JudgedT]):
    """One attempt to commit to one table, on top of what the target holds now.

    `commit_changes` calls the verbs in the order in which they stand here, each at most once. Nothing may be visible
    before `truncate`, but for new columns and tables; a target without transactions writes from there on, the ledger
    last. Any verb may raise Conflict, TableError, SinkError.
    """

    @property
    def place(self) -> str:
        """How errors name the target."""

    def already_committed(self) -> tuple[Account, ...] | None:
        """The accounts of this very commit, where the target knows that it has it; else None."""

    def held(self) -> HeldTable:
        """What is there, read under the lock or in the version that the commit builds on."""

    def names(self) -> Iterable[str]:
        """Names of all tables; asked before a table gets its first columns."""

    def grow(self, table: Table) -> None:
        """Make the table, or let it grow, so that it has all columns of `table`, of these types."""

    def job_ledger(self, job: str, partitions: Sequence[TopicPartition]) -> JobLedger:
        """The job's entries, those of these partitions at least."""

    def read(self, table: Table, staged: Sequence[Staged]) -> RowsT:
        """The staged rows as rows of `table`."""

    def judge(self, rows: RowsT, floor: bytes | None) -> JudgedT:
        """Accept a change where its position is above `floor` and above that of the row and tombstone of its key.

        `floor` is the position of the last TRUNCATE, this commit's among them.
        """

    def truncate(self, position: bytes) -> None:
        """Remove all rows and tombstones at or below the position, and keep it as that of the last TRUNCATE."""

    def write(self, rows: RowsT, judged: JudgedT) -> None:
        """Bring the accepted changes into the table: upserts as rows, the positions of deletes as tombstones.

        An unavailable value stays as the target's row of the key has it, NULL where it has none after `truncate`.
        A target that cannot write both at once writes tombstones first: left alone, they refuse only older changes.
        """

    def prune_tombstones(self) -> None:
        """Forget deletes of longer ago than the retention, where `write` does not do so."""

    def write_ledger(self, change: LedgerChange) -> None:
        """Write the ledger; where rows and ledger are one commit, make it."""


Begin = Callable[[], AbstractContextManager[CommitTarget[RowsT, JudgedT]]]


def commit_changes(
    begin: Begin[RowsT, JudgedT], changes: TableChanges, place: str, attempts: int = 1
) -> tuple[Account, ...]:
    """Commit the changes in one transaction of the target; the full accounts.

    `begin` opens a transaction: leaving it commits, an error undoes it. It is opened again, on top of what is there
    then, as often as `attempts` says, where another writer came first (Conflict). Raises TableError, SinkError, and
    TransientSinkError, which names `place`, where other writers are always faster. Raises EpochBegunError where only
    the ledger was written: the changes are of epochs that it did not know when they were staged.
    """
    for _ in range(attempts):
        try:
            with begin() as target:
                accounts = _attempt(target, changes)
        except Conflict:
            continue
        if accounts is not None:
            return accounts
        raise EpochBegunError(
            f"table {changes.name}: the ledger has learned where changes of a new source begin; run the job again"
        )
    raise TransientSinkError(f"{place}: other writers were faster {attempts} times")


def _attempt(target: CommitTarget[RowsT, JudgedT], changes: TableChanges) -> tuple[Account, ...] | None:
    """The full accounts; None where the commit is to be made again, in the epochs that the ledger has now."""
    done = target.already_committed()
    if done is not None:
        return done
    commit = changes.commit
    held = target.held()
    table = _grown(target, held, changes)
    floor = max(filter(None, (held.truncate, commit.truncate)), default=None)
    before = target.job_ledger(commit.job, changes.sources)
    begun = before.begun(changes.name, commit)
    if begun is not None:
        target.write_ledger(LedgerChange(commit.job, changes.name, before, begun, ()))
        return None
    staged = [part for part in changes.staged if part.rows]
    rows = target.read(table, staged) if staged and table is not None else None
    judged = None if rows is None else target.judge(rows, floor)
    counts = Counts() if judged is None else judged.counts
    # Whatever is wrong with the accounts or the offsets is found here, before anything is written.
    accounts = commit.full_accounts(counts.applied, counts.superseded)
    change = LedgerChange(commit.job, changes.name, before, before.advanced(changes.name, commit, accounts), accounts)
    if floor is not None and floor != held.truncate:
        target.truncate(floor)
    if rows is not None and judged is not None:
        target.write(rows, judged)
    if table is not None:
        target.prune_tombstones()
    target.write_ledger(change)
    return accounts


def _grown(target: CommitTarget[RowsT, JudgedT], held: HeldTable, changes: TableChanges) -> Table | None:
    """The table as it is after this commit; None where it has no columns yet. Raises TableError."""
    begins = held.table is None and changes.has_columns
    if begins or not held.exists:
        check_name(changes.name, target.names())
    if not changes.has_columns:
        return held.table
    table = enlarged(target.place, held.table, changes.table, [part.table for part in changes.staged])
    target.grow(table)
    return table
