"""From a block to changes: the seam between message formats and the steps that follow."""

from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa

from ..model.dead_letter import DeadLetter
from ..model.message_batch import MessageBatch


@dataclass(slots=True)
class Decoded:
    """What one block came to. `read` is the sum of the changes that count, `filtered`, `truncates` and dead letters.

    `emptied` are the TRUNCATEs as changes without a row, for tables whose mode keeps them.
    """

    topic: str
    partition: int
    first: int
    stop: int
    key: tuple[str, ...] = ()
    changes: list[pa.RecordBatch] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)
    read: int = 0
    filtered: int = 0
    truncates: int = 0
    truncate: bytes | None = None
    emptied: list[pa.RecordBatch] = field(default_factory=list)

    @classmethod
    def of(cls, messages: MessageBatch, key: tuple[str, ...]) -> "Decoded":
        """Nothing decoded yet of these messages, all of them counted as read."""
        return cls(messages.topic, messages.partition, messages.first, messages.stop, key, read=len(messages))


class BlockDecoder(Protocol):
    """Decodes the messages of one topic."""

    def decode(self, messages: MessageBatch) -> Decoded:
        """Changes, counts and dead letters; raises RegistryError, TruncateError."""
