"""Offsets that a commit may advance, and running sums of its accounts: the same rule for every target."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ....schemas.errors import LedgerGapError
from ....schemas.model.ledger import Account, Commit, TopicPartition
from ....schemas.model.source_mark import SourceMark


@dataclass(frozen=True, slots=True)
class Entry:
    """One partition of a job and table: the next offset (None: none yet), its account, and the offset it began at.

    `mark` says how far its source has come.
    """

    next: int | None
    account: Account
    start: int | None = None
    mark: SourceMark = field(default_factory=SourceMark)


def advanced(
    table: str, commit: Commit, settled: Sequence[Account], held: Mapping[TopicPartition, Entry]
) -> dict[TopicPartition, Entry]:
    """The entries after this commit, those it does not touch among them; accounts are sums of all commits.

    A range without offsets (first == stop == -1) leaves the next offset as it is. A range that is already covered
    is a replay: it adds nothing. Raises LedgerGapError where offsets lie between the ledger and the commit.
    """
    entries = dict(held)
    for account in settled:
        source = TopicPartition(account.topic, account.partition)
        old = held.get(source)
        known = None if old is None else old.next
        before = SourceMark() if old is None else old.mark
        mark = before.joined(commit.marks[source]) if source in commit.marks else before
        if account.stop < 0:
            entries[source] = Entry(known, _sum(old, account), None if old is None else old.start, mark)
            continue
        if known is not None and known < account.first:
            raise LedgerGapError(
                f"table {table}, job {commit.job}: the ledger of {source} stands at {known}, but the commit begins "
                f"at {account.first}; nothing was committed: run the job again, it resumes from the ledger"
            )
        if known is None or account.stop > known:
            start = account.first if old is None or old.start is None else old.start
            entries[source] = Entry(account.stop, _sum(old, account), start, mark)
    return entries


def _sum(old: Entry | None, account: Account) -> Account:
    if old is None:
        return account
    sums = old.account
    return Account(
        account.topic,
        account.partition,
        account.first,
        account.stop,
        sums.read + account.read,
        sums.applied + account.applied,
        sums.superseded + account.superseded,
        sums.filtered + account.filtered,
        sums.dead + account.dead,
    )
