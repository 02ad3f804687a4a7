"""A table's ledger as every target keeps it: the rules by which a commit advances it, and its form as rows."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from ....schemas.errors import LedgerGapError, TableError
from ....schemas.model.ledger import Account, Commit, Ledger, TopicPartition
from ....schemas.model.source_mark import SourceMark
from ....schemas.model.stored_format import LEDGER
from .damage import intact

COUNTS: Final = ("first", "stop", "read", "applied", "superseded", "filtered", "dead")
COLUMNS: Final = ("topic", "partition", "next", "start", *COUNTS, "topic_id", "mark", "format")
"""What a target that keeps the ledger as rows has of each partition, beside the job, the table and the time.

`format` is the version of the row's own format.
"""


MORE_PARTITIONS: Final = (
    "table {table}: the topic {topic} has {now} partitions now, and had {before} when the table was first filled from "
    "it. Its changes have no position but their offsets, which say nothing across partitions, and a key may have moved "
    "to another one. Nothing was committed. Let the time of the messages decide (order_by: timestamp for this table in "
    "the job file), or fill the table anew: millrace resync JOB --table {table}"
)


TWO_SOURCES: Final = (
    "table {table}: two sources write into it, {first} and {second} (in {place}). Positions of two sources cannot be "
    "compared, so nobody knows which of two changes of a row is the newer. Nothing was committed. Say what holds for "
    "this table in the job file: on_two_sources: separate_keys (no key is in both), or {other}; or give each source a "
    "table of its own"
)
BY_CLOCKS: Final = "on_two_sources: newest_time (the sources' clocks decide)"
BY_MESSAGES: Final = "order_by: timestamp (the time of the messages decides)"


@dataclass(frozen=True, slots=True)
class PartitionEntry:
    """One partition of a job and table: its next offset (None: none yet), its sums, and the offset it began at.

    `account` has `first` and `stop` of the last commit, and the sums of all; a target need not keep the sums. `mark`
    says how far the partition's source has come.
    """

    next: int | None
    account: Account
    start: int | None = None
    mark: SourceMark = field(default_factory=SourceMark)


@dataclass(frozen=True, slots=True)
class JobLedger:
    """What one job has in a table's ledger."""

    entries: Mapping[TopicPartition, PartitionEntry] = field(default_factory=dict)
    topic_ids: Mapping[str, int] = field(default_factory=dict)

    def of(self, partitions: Sequence[TopicPartition], truncate: bytes | None) -> Ledger:
        """What `Sink.ledger` says of these partitions, with the position of the table's last TRUNCATE."""
        known = {source: self.entries[source] for source in partitions if source in self.entries}
        return Ledger(
            {source: entry.next for source, entry in known.items() if entry.next is not None},
            truncate,
            self.topic_ids,
            {source: entry.start or 0 for source, entry in known.items() if entry.next is not None},
            marks={source: entry.mark for source, entry in known.items() if entry.next is not None},
        )

    def advanced(self, table: str, commit: Commit, accounts: Sequence[Account]) -> "JobLedger":
        """The ledger after this commit, with the entries that it does not touch.

        A range without offsets (first == stop == -1) leaves the next offset as it is. A range that is covered already
        is a replay: it adds nothing. Raises LedgerGapError where offsets lie between the ledger and the commit,
        NewSourceError where the changes of a range are of another source than those before, TableError where a topic
        that offsets alone order has more partitions now, or where a second source comes.
        """
        self._check_sources(table, commit)
        self._check_partitions(table, commit)
        entries = dict(self.entries)
        for account in accounts:
            source, old = account.source, self.entries.get(account.source)
            known = None if old is None else old.next
            if commit.rewind and old is not None:
                start = min(old.start or 0, account.first)
                entries[source] = replace(old, next=account.first, start=start, mark=old.mark.rewound(account.first))
                continue
            mark = commit.seeds.get(source, SourceMark()) if old is None else old.mark
            if source in commit.marks and (known is None or account.stop > known):
                mark = mark.followed(commit.marks[source], f"table {table}: {source}")
            mark = mark.accepting() if commit.accept else mark
            mark = mark if commit.replay is None else mark.replayed(commit.replay, source)
            mark = mark.with_ended(commit.ended)
            if account.stop < 0:
                entries[source] = PartitionEntry(known, _sum(old, account), None if old is None else old.start, mark)
                continue
            if known is not None and known < account.first:
                raise LedgerGapError(
                    f"table {table}, job {commit.job}: the ledger of {source} stands at {known}, but the commit begins "
                    f"at {account.first}; nothing was committed: run the job again, it resumes from the ledger"
                )
            if known is None or account.stop > known:
                start = account.first if old is None or old.start is None else old.start
                entries[source] = PartitionEntry(account.stop, _sum(old, account), start, mark)
        return JobLedger(entries, {**self.topic_ids, **commit.topic_ids})

    def _check_partitions(self, table: str, commit: Commit) -> None:
        """Raise where a topic without positions has more partitions than when the table was first filled from it.

        Its keys may have moved to others then, and an offset says nothing about the offsets of another partition.
        """
        for topic in sorted({source.topic for source, mark in commit.marks.items() if mark.partitions}):
            known = [entry.mark for source, entry in self.entries.items() if source.topic == topic]
            before = min((mark.partitions for mark in known if mark.partitions), default=0)
            new = {source: mark for source, mark in commit.marks.items() if source.topic == topic}
            now = max(max(source.partition + 1, mark.partitions) for source, mark in new.items())
            placed = any(mark.connectors for mark in known) or any(mark.climbs for mark in new.values())
            if now > before > 0 and not placed:
                raise TableError(MORE_PARTITIONS.format(table=table, topic=topic, before=before, now=now))

    def _check_sources(self, table: str, commit: Commit) -> None:
        """Raise where the commit brings changes of a source whose positions say nothing beside those of another."""
        if not commit.one_source:
            return
        known = {name for entry in self.entries.values() for name in entry.mark.known_sources}
        for place, mark in sorted(commit.marks.items()):
            for name in mark.sources:
                # Where the messages of a topic bear positions from some offset on, those are above all before.
                if known - {f"the topic {place.topic}"} and name not in known:
                    other = BY_MESSAGES if name.startswith("the topic ") else BY_CLOCKS
                    first = min(known)
                    raise TableError(
                        TWO_SOURCES.format(table=table, first=first, second=name, place=place, other=other)
                    )
                known.add(name)

    def begun(self, table: str, commit: Commit) -> "JobLedger | None":
        """The ledger with the epochs that the changes of this commit bring, and nothing else; None without one.

        Changes take their epochs from the ledger when they are staged, so it must know them before: the commit is made
        again after this one. Where a new source began before the next offset, its first changes passed as repetitions:
        the ledger goes back to it. Raises NewSourceError.
        """
        entries = dict(self.entries)
        for account in commit.accounts:
            source, old = account.source, entries.get(account.source)
            known = None if old is None else old.next
            if source not in commit.marks or account.stop < 0 or (known is not None and account.stop <= known):
                continue
            first = account.first if known is None else known
            old = old if old is not None and known is not None else _beginning(account)
            others = [entry.mark.epochs for place, entry in entries.items() if place != source]
            mark = old.mark.begun(commit.marks[source], f"table {table}: {source}", commit.follow, others)
            if mark is None:
                continue
            fresh = min(offset for offset, _ in set(mark.epochs.begins) - set(old.mark.epochs.begins))
            next = min(first, fresh) if commit.rewinds else first
            # What the source remembers of the log is of the old place.
            entries[source] = replace(old, mark=mark if next == first else replace(mark, tail=""), next=next)
        return None if entries == self.entries else JobLedger(entries, self.topic_ids)


def _beginning(account: Account) -> PartitionEntry:
    """The entry of a partition of which nothing was committed yet."""
    return PartitionEntry(
        account.first, Account(account.topic, account.partition, account.first, account.first), account.first
    )


@dataclass(frozen=True, slots=True)
class LedgerChange:
    """What a commit does to the ledger of a table; `accounts` are those of this commit alone."""

    job: str
    table: str
    before: JobLedger
    after: JobLedger
    accounts: tuple[Account, ...]

    def changed(self) -> dict[TopicPartition, PartitionEntry]:
        """The entries that differ from before, in themselves or in their topic's id."""
        before, after = self.before, self.after
        return {
            source: entry
            for source, entry in after.entries.items()
            if entry != before.entries.get(source)
            or after.topic_ids.get(source.topic) != before.topic_ids.get(source.topic)
        }


def to_rows(ledger: JobLedger, sources: Iterable[TopicPartition] | None = None) -> list[dict[str, Any]]:
    """The entries of these partitions, or of all, each by the names of `COLUMNS`."""
    rows = []
    for source in ledger.entries if sources is None else sources:
        entry = ledger.entries[source]
        counts = {name: getattr(entry.account, name) for name in COUNTS}
        row = {"topic": source.topic, "partition": source.partition, "next": entry.next, "start": entry.start}
        own = {"topic_id": ledger.topic_ids.get(source.topic), "mark": entry.mark.text(), "format": LEDGER.newest}
        rows.append({**row, **counts, **own})
    return rows


def from_rows(rows: Iterable[Mapping[str, Any]], place: str, table: str) -> JobLedger:
    """The ledger that these rows of `place` tell, each by the names of `COLUMNS`.

    Raises TerminalSinkError for a version that is not known, TableError for a row that is damaged.
    """
    entries, topic_ids = {}, {}
    for row in rows:
        LEDGER.check(row["format"], f"{place}, table {table}")
        with intact(table, f"the row of {row['topic']}[{row['partition']}] in {place}"):
            account = Account(row["topic"], row["partition"], *(_count(row, name) for name in COUNTS))
            mark = SourceMark.of_text(row["mark"])
        entries[account.source] = PartitionEntry(row["next"], account, row["start"], mark)
        if row["topic_id"] is not None:
            topic_ids[account.topic] = row["topic_id"]
    return JobLedger(entries, topic_ids)


def _count(row: Mapping[str, Any], name: str) -> int:
    if row[name] is None:
        raise ValueError(f"{name} is NULL")
    return int(row[name])


def _sum(old: PartitionEntry | None, account: Account) -> Account:
    if old is None:
        return account
    sums = old.account
    return replace(
        account,
        read=sums.read + account.read,
        applied=sums.applied + account.applied,
        superseded=sums.superseded + account.superseded,
        filtered=sums.filtered + account.filtered,
        dead=sums.dead + account.dead,
    )
