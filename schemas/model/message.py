"""One message of a log, by itself: for the proof, which reads a few of them at a time and slowly, and how it asks."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from .ledger import OffsetRange, TopicPartition


class Message(NamedTuple):
    """One record; `headers` as (name, bytes) pairs, `timestamp` in milliseconds since 1970, -1 where unknown."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()
    timestamp: int = -1

    @property
    def source(self) -> TopicPartition:
        """The partition that the message is in."""
        return TopicPartition(self.topic, self.partition)


class MessageLog(Protocol):
    """A source's messages one by one, read by another way than the job's blocks."""

    def held(self, stops: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, OffsetRange]:
        """What the log holds of these partitions now: from the first offset to the next that it will give.

        Where a partition seems to end before its stop, its end is looked at twice. Raises SourceError.
        """

    def read(self, ranges: Sequence[OffsetRange]) -> Iterator[Message]:
        """Every committed message of the ranges, each partition in its order. Raises SourceError."""
