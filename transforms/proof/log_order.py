"""A second judge beside positions: the order of the log alone.

Within a partition a connector sends changes in the order in which they happened, some of them twice. So the last
message of a key in its partition is the key's state, unless it repeats an earlier one. Where positions name another
message the newest, the key is disputed: the rule of positions, which table and proof share, may be wrong.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ...schemas.model.ledger import TopicPartition
from ...schemas.model.message import Message
from .avro_reader import UNREADABLE
from .canonical import encode, natural
from .events import Change, Event, Key, plain_row
from .message_reader import reader_of
from .rules import Rules

KeyInPartition = tuple[TopicPartition, Key]


@dataclass(slots=True)
class LogOrder:
    """Gathers suspects: by key and partition, the last event in the log where it is not the newest by position."""

    suspects: dict[KeyInPartition, Event] = field(default_factory=dict)

    def note(self, message: Message, change: Change, newest: bool) -> None:
        """Take the next event of the log; `newest`: whether it is the newest of its key by position too."""
        if change.key is None or (newest and not self.suspects):
            return
        place = (message.source, change.key)
        if newest:
            self.suspects.pop(place, None)
        else:
            self.suspects[place] = change.event

    def disputed(self, newest: Callable[[Key], Event | None], again: "Replays") -> Iterator[tuple[Key, Event, Event]]:
        """(key, the event that the table shows, the last one in the log) of each disputed key.

        A key in two partitions is judged in the one that its newest event is in: the log orders no two partitions.
        """
        open_cases: dict[KeyInPartition, tuple[Event, Event]] = {}
        for (source, key), last in self.suspects.items():
            shown = newest(key)
            if shown is not None and shown.source == source and not _same(shown, last):
                open_cases[source, key] = shown, last
        for place in again.repeated({place: last for place, (_, last) in open_cases.items()}):
            del open_cases[place]
        for (_, key), (shown, last) in open_cases.items():
            yield key, shown, last


@dataclass(frozen=True, slots=True)
class Replays:
    """Finds whether an event repeats an earlier one of its key, by reading the log once more where that is asked."""

    rules: Rules
    read: Callable[[], Iterable[Message]]

    def repeated(self, events: dict[KeyInPartition, Event]) -> set[KeyInPartition]:
        """The places of those events that their partition holds at a smaller offset too, or another one holds.

        Where partitions were added, a repeated change goes to another one than it went before. A row of a snapshot
        repeats nothing: a snapshot that is made again says what holds then.
        """
        wanted: dict[Key, list[tuple[TopicPartition, Event]]] = {}
        for (source, key), event in events.items():
            if event.snapshot_at is None:
                wanted.setdefault(key, []).append((source, event))
        if not wanted:
            return set()
        reader, found = reader_of(self.rules), set[KeyInPartition]()
        for message in self.read():
            try:
                changes = list(reader.read(message))
            except UNREADABLE:
                continue
            for change in changes:
                event = change.event
                if change.key is None or event.snapshot_at is not None:
                    continue
                for source, last in wanted.get(change.key, ()):
                    elsewhere = message.source != source or event.position[-1] < last.position[-1]
                    if elsewhere and event.position[:-1] == last.position[:-1]:
                        found.add((source, change.key))
        return found


def _same(one: Event, other: Event) -> bool:
    """Whether both leave the same row, apart from values that the later one does not have."""
    mine, theirs = plain_row(one), plain_row(other)
    if mine is None or theirs is None:
        return mine is theirs
    return all(_bytes(mine.get(name)) == _bytes(value) for name, value in theirs.items() if name not in other.missing)


def _bytes(value: Any) -> bytes:
    return encode(natural(value))
