"""Offsets and counts that a target keeps beside the rows: what is in, and what became of each record."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..errors import AccountingError
from .snapshot_marks import Ended
from .source_mark import Replay, SourceMark


@dataclass(frozen=True, slots=True, order=True)
class TopicPartition:
    """One partition of one topic."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]"


@dataclass(frozen=True, slots=True, order=True)
class OffsetRange:
    """The offsets [first, stop) of one partition."""

    topic: str
    partition: int
    first: int
    stop: int

    @property
    def source(self) -> TopicPartition:
        return TopicPartition(self.topic, self.partition)


@dataclass(frozen=True, slots=True)
class Account:
    """What became of the records of one partition in one commit: `read` is the sum of the rest.

    `first` and `stop` of -1: no offsets of the partition are covered, and its ledger stays as it is.
    """

    topic: str
    partition: int
    first: int
    stop: int
    read: int = 0
    applied: int = 0
    superseded: int = 0
    filtered: int = 0
    dead: int = 0

    @property
    def source(self) -> TopicPartition:
        return TopicPartition(self.topic, self.partition)

    @property
    def balance(self) -> int:
        """Zero where the account adds up."""
        return self.read - self.applied - self.superseded - self.filtered - self.dead


@dataclass(frozen=True, slots=True)
class Commit:
    """What a sink records in the same transaction as the rows.

    `accounts` lack `applied` and the superseded rows that only the target's guard can tell: `full_accounts` adds
    them. Rows with `_millrace_source == numbers[i]` come from the partition of `accounts[i]`; without `numbers`, those
    with `i`.
    `truncate` is the newest TRUNCATE's position (32 bytes): rows and changes below it are gone. `topic_ids` tell a
    topic from one of the same name that was created later. `marks` say how far the source of each partition has come
    with this commit; `follow`: a new source of a partition is followed. `rewinds`: where it began before the ledger's
    next offset, the ledger goes back to there. `accept`: the next new source of each partition is right.
    `rewind`: the ledger goes back to `first` of each account, nothing else. `replay`: the rows are of dead letters that
    earlier commits counted; the accounts take them out of `dead`. `ended` are by connector the snapshots whose end this
    commit acts on. `seeds` are marks with which partitions begin that the ledger does not know yet. `one_source`: no
    changes are taken of a second source, whose positions cannot be compared.
    """

    job: str
    accounts: tuple[Account, ...]
    truncate: bytes | None = None
    truncates: Mapping[int, int] = field(default_factory=dict)
    topic_ids: Mapping[str, int] = field(default_factory=dict)
    numbers: tuple[int, ...] = ()
    marks: Mapping[TopicPartition, SourceMark] = field(default_factory=dict)
    follow: bool = False
    rewinds: bool = True
    accept: bool = False
    replay: Replay | None = None
    rewind: bool = False
    ended: Mapping[str, Ended] = field(default_factory=dict)
    seeds: Mapping[TopicPartition, SourceMark] = field(default_factory=dict)
    one_source: bool = False

    def full_accounts(self, applied: Mapping[int, int], superseded: Mapping[int, int]) -> tuple[Account, ...]:
        """The accounts with what the target's guard accepted and refused, by source number.

        It is called before anything is written. Rows with source -1 (the delete half of a key change) are not
        counted. Raises AccountingError where an account does not add up.
        """
        full = []
        for number, part in zip(self.numbers or range(len(self.accounts)), self.accounts, strict=True):
            account = replace(
                part,
                applied=part.applied + applied.get(number, 0) + self.truncates.get(number, 0),
                superseded=part.superseded + superseded.get(number, 0),
            )
            if account.balance:
                raise AccountingError(
                    f"{account.topic}[{account.partition}] offsets {account.first} to {account.stop}: read "
                    f"{account.read}, but applied {account.applied} + superseded {account.superseded} + filtered "
                    f"{account.filtered} + dead {account.dead} differ by {account.balance}; nothing was committed"
                )
            full.append(account)
        return tuple(full)


@dataclass(frozen=True, slots=True)
class Ledger:
    """What a target knows of one table: next offsets, the newest TRUNCATE's position, and the topics' ids.

    `start` holds the offset at which each partition was begun: the table holds nothing of what stands before.
    `other_jobs` holds, by topic, other jobs that fill the table from it, with the topic's id as they knew it: a target
    that cannot tell their changes from this job's names them here.
    `marks` say how far the source of each partition has come.
    """

    next: Mapping[TopicPartition, int] = field(default_factory=dict)
    truncate: bytes | None = None
    topic_ids: Mapping[str, int] = field(default_factory=dict)
    start: Mapping[TopicPartition, int] = field(default_factory=dict)
    other_jobs: Mapping[str, Mapping[str, int | None]] = field(default_factory=dict)
    marks: Mapping[TopicPartition, SourceMark] = field(default_factory=dict)


def covered(ranges: Sequence[OffsetRange]) -> dict[TopicPartition, OffsetRange]:
    """One range a partition; raises LedgerGapError's cause, a ValueError, where ranges leave a hole."""
    spans: dict[TopicPartition, OffsetRange] = {}
    for part in sorted(ranges):
        span = spans.get(part.source)
        if span is None:
            spans[part.source] = part
        elif part.first > span.stop:
            raise ValueError(f"{part.source}: offsets {span.stop} to {part.first} are missing between two blocks")
        else:
            spans[part.source] = OffsetRange(part.topic, part.partition, span.first, max(span.stop, part.stop))
    return spans
