"""One message of a log, by itself: for the proof, which reads a few of them at a time and slowly."""

from collections.abc import Sequence
from typing import NamedTuple

from .ledger import TopicPartition


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
