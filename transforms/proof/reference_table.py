"""The reference: what a table should hold, built from its messages by the rules of positions.

It is written for the proof alone and to be read: one message at a time into a dictionary by key, without Arrow and
without the job's decoder.

    position   (epoch, commit order, order inside it, Kafka offset) by `source`; plain topics (0, 0, 0, offset);
               r is one step above the largest of its partition and epoch before it; the ledger tells the epochs
    guard      an equal or smaller position never replaces
    d, null    a delete leaves its position; a tombstone directly after the d of its key says nothing new, any other
               has a position as r has
    t          with on_truncate: apply, rows and changes below its position are gone
    partial    an unavailable value is that of the key's older row; after a key change, of the old key's last row

So the order in which partitions are read does not matter. Of a key, only the newest event is kept, and older ones from
which its unavailable values come.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...schemas.model.ledger import TopicPartition
from ...schemas.model.message import Message
from .avro_reader import UNREADABLE
from .canonical import UNKNOWN
from .events import Change, Event, Key, Position, plain_row
from .log_order import LogOrder, Replays
from .message_reader import ProofReader, reader_of
from .rules import Rules
from .shared_keys import SharedKeys
from .snapshots import SnapshotLog


@dataclass(slots=True)
class ReferenceTable:
    """One table. `add` messages in any order of partitions; then `rows`.

    `gone` are the partitions whose log no longer begins where the table does, each with its first offset: a value that
    only an earlier message has is UNKNOWN. `truncated` is the position of the last TRUNCATE, `_keys` the events of each
    key, by position.
    """

    rules: Rules
    read: int = 0
    undecodable: int = 0
    truncated: Position = (-1, 0, 0, 0)
    gone: Mapping[TopicPartition, int] = field(default_factory=dict)
    _keys: dict[Key, list[Event]] = field(default_factory=dict)
    log_order: LogOrder = field(default_factory=LogOrder)
    shared: SharedKeys = field(default_factory=SharedKeys)
    _snapshots: SnapshotLog | None = None
    _changes: ProofReader = field(init=False)

    def __post_init__(self) -> None:
        self._changes = reader_of(self.rules)
        self._snapshots = SnapshotLog(self.rules.ended) if self.rules.replaces else None

    @property
    def names(self) -> tuple[str, ...] | None:
        """The key's columns, once they are known."""
        return self._changes.names

    def add_all(self, messages: Iterable[Message]) -> "ReferenceTable":
        for message in messages:
            self.add(message)
        return self

    def add(self, message: Message) -> None:
        """One message; what cannot be decoded is counted, as the job puts it among the dead letters."""
        self.read += 1
        try:
            changes = self._changes.read(message)
        except UNREADABLE:
            self.undecodable += 1
            if self._snapshots is not None:
                self._snapshots.note(message, None)
            return
        if self._snapshots is not None:
            self._snapshots.note(message, changes)
        for change in changes:
            newest = self._newest(change.key)
            self._apply(message, change)
            if self.rules.separate_keys:
                self.shared.note(change)
            if not (self.rules.by_time or self.rules.by_clock):
                self.log_order.note(message, change, newest is None or change.event.position > newest.position)

    def end_snapshots(self, sources: Iterable[TopicPartition]) -> None:
        """When all messages of these partitions are read: end the rows that whole snapshots do not have."""
        if self._snapshots is None or self.gone:
            return
        for snapshot in self._snapshots.whole(self._changes.connectors, sources):
            for key, events in list(self._keys.items()):
                missed = snapshot.missed(events)
                if missed is not None:
                    self._put(key, snapshot.gone(missed))

    def hold(self, key: Key, row: Mapping[str, Any]) -> None:
        """A row that the source itself shows, canonical but for its units."""
        self.read += 1
        self._keys[key] = [Event((0, 0, 0, self.read), row)]

    def disputed(self, again: Replays) -> Iterator[tuple[Key, Event, Event]]:
        """(key, the event that the table shows, the last one in the log) of each key on which the two disagree."""
        return self.log_order.disputed(self._newest, again)

    def _stands(self, event: Event) -> bool:
        """Whether an event is newer than the last TRUNCATE, or is it.

        A snapshot of Postgres names an LSN alone, and no commit: it is compared with the LSN of the TRUNCATE.
        """
        at = event.snapshot_at
        if at is not None and at[0] == self.truncated[0] and at[1] == at[2]:
            return at[2] >= self.truncated[2]
        return (at or event.position) >= self.truncated

    def rows(self) -> Iterator[tuple[Key, Position, dict[str, Any] | None]]:
        """(key, position, row) of each key; the row's values are canonical but for their units; None is a delete."""
        for key in self._keys:
            events = self._alive(key)
            if events:
                yield key, events[-1].position, self._row(events)

    def row(self, key: Key) -> dict[str, Any] | None:
        """The row of one key, as `rows` gives it."""
        events = self._alive(key) if key in self._keys else []
        return self._row(events) if events else None

    def position(self, key: Key) -> Position | None:
        """The newest position of a key, deletes included."""
        events = self._keys.get(key)
        return events[-1].position if events else None

    def _newest(self, key: Key | None) -> Event | None:
        events = () if key is None else self._keys.get(key, ())
        return next((one for one in reversed(events) if self._stands(one)), None)

    def may_be_older(self, row: Mapping[str, Any], position: bytes | None) -> bool:
        """Whether a row of the target that the reference lacks may come from a message that the log no longer holds."""
        return position is not None and _offset(position) < max(self.gone.values(), default=0)

    def may_lack(self, key: Key) -> bool:
        """Whether a message that the log no longer holds may be why the target has no such row."""
        return False

    def key_names(self, key: tuple[str, ...]) -> tuple[str, ...]:
        """The columns that tell the rows apart; `key` are those of the stream, where the job names them."""
        return key or self.names or ()

    def _apply(self, message: Message, change: Change) -> None:
        if change.key is not None:
            self._put(change.key, change.event)
        elif self.rules.truncate:
            self.truncated = max(self.truncated, change.event.position)

    def _put(self, key: Key, event: Event) -> None:
        events = self._keys.get(key)
        if events is None:
            self._keys[key] = [event]
            return
        last = events[-1]
        if event.position > last.position:
            if len(events) == 1 and not event.missing and not event.moved and not last.moved:
                events[0] = event
                return
            events.append(event)
        else:
            at = bisect_left(events, event.position, key=lambda one: one.position)
            if events[at].position == event.position:
                return
            events.insert(at, event)
        self._keys[key] = _needed(events)

    def _alive(self, key: Key) -> list[Event]:
        return [event for event in self._keys[key] if self._stands(event)]

    def _row(self, events: list[Event]) -> dict[str, Any] | None:
        event = events[-1]
        row = plain_row(event)
        if row is not None:
            for name in event.missing:
                row[name] = self._value(events, len(events) - 1, name, frozenset())
        return row

    def _value(self, events: list[Event], index: int, name: str, seen: frozenset[tuple[Key, Position]]) -> Any:
        """The value of a column after the event at `index`; NULL, or UNKNOWN, where no row that is left holds it.

        `seen` are the key changes followed so far, by old key and position: a row may return to a key that it had.
        """
        event = events[index]
        if event.row is None:
            return None
        if name not in event.missing:
            return (plain_row(event) or {}).get(name)
        old = event.old_key
        if old is not None and old in self._keys and (old, event.position) not in seen:
            others = _before_move(self._alive(old), event.position)
            if others:
                return self._value(others, len(others) - 1, name, seen | {(old, event.position)})
        if index:
            return self._value(events, index - 1, name, seen)
        return UNKNOWN if self.gone else None


def _offset(position: bytes) -> int:
    """The log's offset is the last number of a position."""
    return int.from_bytes(position[-8:], "big")


def _needed(events: list[Event]) -> list[Event]:
    """The events worth keeping: from the newest whole one on, and for each key change the row before it."""
    kept, need = [], True
    for event in reversed(events):
        if need or event.moved:
            kept.append(event)
            need = event.moved or bool(event.missing)
    return kept[::-1]


def _before_move(events: list[Event], position: Position) -> list[Event]:
    """The old key's events before the delete of the key change; that may be there twice, by a replay."""
    before = [event for event in events if event.position[:3] <= position[:3]]
    if not before or before[-1].row is not None:
        return before
    delete = before[-1].position[:3]
    return [event for event in before if event.row is not None or event.position[:3] != delete]
