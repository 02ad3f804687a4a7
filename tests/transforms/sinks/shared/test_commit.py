"""The order of a commit's steps, over a target that only writes down what it is asked for."""

from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from support.targets import ROW, position

from millrace.schemas.errors import AccountingError, LedgerGapError, TableError, TransientSinkError
from millrace.schemas.model.ledger import Account, Commit, TopicPartition
from millrace.schemas.model.table import Table
from millrace.transforms.sinks import Staged
from millrace.transforms.sinks.shared.commit import Conflict, Counts, HeldTable, TableChanges, commit_changes
from millrace.transforms.sinks.shared.ledger import JobLedger, PartitionEntry

ORDERS = Table("orders", ("id",), ROW)
SOURCE = TopicPartition("orders", 0)
CHANGES = ("truncate", "write", "prune_tombstones", "write_ledger")


@dataclass(frozen=True)
class Judged:
    counts: Counts


@dataclass
class Notebook:
    """A target whose guard accepts all but `refused` rows; the verbs in the order in which they were called."""

    state: HeldTable = field(default_factory=HeldTable)
    next: int | None = None
    refused: int = 0
    conflicts: int = 0
    verbs: list[str] = field(default_factory=list)
    floor: bytes | None = None
    ledger: JobLedger | None = None
    done: tuple[Account, ...] | None = None
    place: str = "the notebook"

    @contextmanager
    def begin(self):
        self.verbs.append("begin")
        yield self
        if self.conflicts:
            self.conflicts -= 1
            raise Conflict
        self.verbs.append("end")

    def already_committed(self):
        return self.done

    def held(self):
        self.verbs.append("held")
        return self.state

    def names(self):
        self.verbs.append("names")
        return ("ORDERS",)

    def grow(self, table):
        self.verbs.append("grow")

    def job_ledger(self, job, partitions):
        assert partitions == [SOURCE]
        entry = PartitionEntry(self.next, Account("orders", 0, 0, self.next or 0))
        return JobLedger({} if self.next is None else {SOURCE: entry})

    def read(self, table, staged):
        return sum(part.rows for part in staged)

    def judge(self, rows, floor):
        self.verbs.append("judge")
        self.floor = floor
        return Judged(Counts({0: rows - self.refused}, {0: self.refused}))

    def truncate(self, position):
        self.verbs.append("truncate")

    def write(self, rows, judged):
        self.verbs.append("write")

    def prune_tombstones(self):
        self.verbs.append("prune_tombstones")

    def write_ledger(self, change):
        self.verbs.append("write_ledger")
        self.ledger = change.after

    def commit(self, account, rows=2, truncate=None, attempts=3):
        staged = [Staged(ORDERS, "somewhere", rows)] if rows else []
        changes = TableChanges(ORDERS, staged, Commit("shop", (account,), truncate))
        return commit_changes(self.begin, changes, self.place, attempts)


@pytest.fixture
def there():
    return Notebook(HeldTable(ORDERS, None, exists=True), next=5)


def test_rows_go_before_the_ledger_and_all_is_judged_before_that(there):
    (account,) = there.commit(Account("orders", 0, 5, 7, read=2), truncate=position(3))
    assert there.verbs == ["begin", "held", "grow", "judge", *CHANGES, "end"]
    assert (account.applied, account.superseded, there.floor) == (2, 0, position(3))
    assert there.ledger.entries[SOURCE].next == 7


@pytest.mark.parametrize(
    ("account", "error"),
    [
        (Account("orders", 0, 5, 7, read=3), AccountingError),
        (Account("orders", 0, 6, 8, read=2), LedgerGapError),
    ],
)
def test_what_is_wrong_is_found_before_anything_is_written(there, account, error):
    with pytest.raises(error):
        there.commit(account, truncate=position(3))
    assert not set(there.verbs) & {*CHANGES, "end"}


def test_an_older_truncate_is_not_done_again(there):
    there.state = HeldTable(ORDERS, position(9), exists=True)
    there.commit(Account("orders", 0, 5, 7, read=2), truncate=position(3))
    assert "truncate" not in there.verbs
    assert there.floor == position(9)


def test_a_ledger_alone_neither_grows_nor_judges(there):
    there.commit(Account("orders", 0, 5, 7), rows=0)
    assert there.verbs == ["begin", "held", "grow", "prune_tombstones", "write_ledger", "end"]


def test_a_new_table_is_refused_where_a_name_differs_in_case_only():
    new = Notebook()
    with pytest.raises(TableError, match="'ORDERS' exists in the target and differs in case only"):
        new.commit(Account("orders", 0, 0, 2, read=2))
    assert new.verbs == ["begin", "held", "names"]


def test_after_another_writers_commit_all_is_decided_again(there):
    there.conflicts = 2
    (account,) = there.commit(Account("orders", 0, 5, 7, read=2))
    assert (there.verbs.count("judge"), there.verbs.count("end"), account.applied) == (3, 1, 2)
    there.conflicts = 3
    with pytest.raises(TransientSinkError, match="the notebook: other writers were faster 3 times"):
        there.commit(Account("orders", 0, 5, 7, read=2))


def test_a_commit_that_the_target_has_is_not_made_again(there):
    there.done = (Account("orders", 0, 5, 7, read=2, applied=2),)
    assert there.commit(Account("orders", 0, 5, 7, read=2)) == there.done
    assert there.verbs == ["begin", "end"]
