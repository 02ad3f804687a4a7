"""What a block comes to, whoever decoded it: an envelope, or a source whose log is typed."""

from dataclasses import dataclass, field

import pyarrow as pa

from ..model.dead_letter import DeadLetter
from ..model.message_batch import MessageBatch
from ..model.source_mark import SourceMark


@dataclass(slots=True)
class Decoded:
    """What one block came to. `read` is the sum of the changes that count, `filtered`, `truncates` and dead letters.

    `emptied` are the TRUNCATEs as changes without a row, for tables whose mode keeps them. `mark` says how far
    the source had come at its end. `falls`: positions are lower than before somewhere, so that they cannot be compared
    with those before until the epoch is known. `other` says what messages are that are no changes of any table.
    `several`: an offset may have several changes, as a transaction of a database's log.
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
    mark: SourceMark = field(default_factory=SourceMark)
    falls: bool = False
    other: str = ""
    several: bool = False

    @classmethod
    def of(cls, messages: MessageBatch, key: tuple[str, ...]) -> "Decoded":
        """Nothing decoded yet of these messages, all of them counted as read."""
        return cls(messages.topic, messages.partition, messages.first, messages.stop, key, read=len(messages))
