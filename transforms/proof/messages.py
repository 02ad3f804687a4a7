"""What the proof asks of a source: its messages, one by one, read by a way that is not the job's."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from ...schemas.model.ledger import OffsetRange, TopicPartition
from ...schemas.model.message import Message


class MessageLog(Protocol):
    """The log of a source, to be read again from its beginning."""

    def held(self, stops: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, OffsetRange]:
        """What the log holds of these partitions now: from the first offset to the next that it will give.

        Where a partition seems to end before its stop, its end is looked at twice. Raises SourceError.
        """

    def read(self, ranges: Sequence[OffsetRange]) -> Iterator[Message]:
        """Every committed message of the ranges, each partition in its order. Raises SourceError."""
