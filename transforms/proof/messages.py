"""What the proof asks of a source: its messages, one by one, read by a way that is not the job's."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from ...schemas.model.ledger import OffsetRange, TopicPartition
from ...schemas.model.message import Message


class MessageLog(Protocol):
    """The log of a source, to be read again from its beginning."""

    def ranges(
        self, stops: Mapping[TopicPartition, int], starts: Mapping[TopicPartition, int]
    ) -> Sequence[OffsetRange]:
        """The offsets from `starts` to `stops` that the log still holds; a partition without a start is read whole.

        Raises SourceError; LostOffsetsError where a partition ends before its stop.
        """

    def read(self, ranges: Sequence[OffsetRange]) -> Iterator[Message]:
        """Every committed message of the ranges, each partition in its order. Raises SourceError."""
