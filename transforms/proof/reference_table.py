"""The oracle: messages folded into a dictionary, one table's newest row by key, by the rules of positions.

Written anew for the proof and for plain reading: one message at a time, no Arrow, nothing of the job's decoder.

    position   (commit order, order inside it, Kafka offset) by `source`; r and plain topics (0, 0, offset)
    guard      an equal or smaller position never replaces
    d, null    a delete leaves its position; a tombstone directly behind the d of its key says nothing new, a lone one
               has the largest (commit order, order inside it) of its partition before it
    t          with on_truncate: apply, rows and changes below its position are gone
    partial    an unavailable value is that of the key's older row; behind a key change, of the old key's last row

So the order in which messages come does not matter. A key keeps its newest event and those it still leans on.
"""

import base64
import binascii
import json
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from ...schemas.encodings.schema_store import SchemaStore
from ...schemas.encodings.wire_format import Framing
from .avro_reader import UNREADABLE, Convert, PayloadReader, Reader
from .avro_validator import Malformed
from .canonical import natural
from .debezium import TEXTS, source_order, unavailable

Key = tuple[Any, ...]
Position = tuple[int, int, int]

NO_POSITION: Final = (0, 0)


class Message(NamedTuple):
    """One Kafka record; `headers` as (name, bytes) pairs, `timestamp` in milliseconds, -1 where unknown."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()
    timestamp: int = -1


class Event(NamedTuple):
    """One change of one key. `row` holds fastavro's plain values, None for a delete; `missing` are unavailable."""

    position: Position
    row: Mapping[str, Any] | None
    convert: Convert | None = None
    extra: Mapping[str, Any] | None = None
    missing: tuple[str, ...] = ()
    old_key: Key | None = None
    moved: bool = False
    timestamp: int = -1


@dataclass(frozen=True, slots=True)
class Rules:
    """How messages are read. `key` names columns of the row where the job says so, else the message key's fields."""

    format: Literal["debezium", "upsert"]
    contracts: SchemaStore
    key: tuple[str, ...] | None = None
    truncate: bool = False
    framing: Framing = Framing.AUTO


@dataclass(slots=True)
class ReferenceTable:
    """One table. `add` messages in any order of partitions; then `rows`."""

    rules: Rules
    read: int = 0
    undecodable: int = 0
    truncated: Position = (-1, 0, 0)
    names: tuple[str, ...] | None = None
    _keys: dict[Key, list[Event]] = field(default_factory=dict)
    _payloads: PayloadReader = field(init=False)
    _newest: dict[tuple[str, int], tuple[int, int]] = field(default_factory=dict)
    _deleted: dict[tuple[str, int], bytes | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._payloads = PayloadReader(self.rules.contracts, self.rules.framing)
        self.names = self.rules.key

    def add_all(self, messages: Iterable[Message]) -> "ReferenceTable":
        for message in messages:
            self.add(message)
        return self

    def add(self, message: Message) -> None:
        """One message; what cannot be decoded is counted, as the job puts it among the dead letters."""
        self.read += 1
        place = (message.topic, message.partition)
        behind = self._deleted.pop(place, None)
        try:
            if message.value is None:
                if message.key is None or behind != message.key or self.rules.format == "upsert":
                    self._tombstone(message)
            elif self.rules.format == "upsert":
                self._upsert(message)
            else:
                self._envelope(message)
        except UNREADABLE:
            self.undecodable += 1

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

    def key_names(self, key: tuple[str, ...]) -> tuple[str, ...]:
        """The columns that tell the rows apart; `key` are those of the stream, where the job names them."""
        return key or self.names or ()

    def _truncate(self, position: Position) -> None:
        self.truncated = max(self.truncated, position)

    def _tombstone(self, message: Message) -> None:
        if message.key is None:
            raise Malformed("neither key nor value")
        key, _, _ = self._message_key(message)
        order = self._newest.get((message.topic, message.partition), NO_POSITION)
        self._put(key, Event((*order, message.offset), None))

    def _upsert(self, message: Message) -> None:
        assert message.value is not None
        row, reader = self._payloads.read(message.value, message.topic, "value")
        key, extra = self._row_key(message, row, reader)
        self._put(key, Event((0, 0, message.offset), row, reader.convert, extra))

    def _envelope(self, message: Message) -> None:
        assert message.value is not None
        envelope, reader = self._payloads.read(message.value, message.topic, "value")
        if not isinstance(envelope, dict) or "op" not in envelope:
            raise Malformed("no Debezium envelope")
        op = envelope["op"]
        if op == "m":
            return
        if op not in ("r", "c", "u", "d", "t"):
            raise Malformed(f"op {op!r}")
        order = NO_POSITION if op == "r" else source_order(envelope.get("source") or {})
        place = (message.topic, message.partition)
        position = (*order, message.offset)
        self._newest[place] = max(order, self._newest.get(place, NO_POSITION))
        if op == "t":
            if self.rules.truncate:
                self._truncate(position)
        elif op == "d":
            self._delete(message, envelope, reader, position)
            self._deleted[place] = message.key
        else:
            self._put_row(message, envelope, reader, position)

    def _delete(self, message: Message, envelope: Mapping[str, Any], reader: Reader, position: Position) -> None:
        before = envelope.get("before")
        if self.rules.key is not None and before is not None:
            key = self._key_of(before, reader.convert_part("before"))
        else:
            key, _, _ = self._message_key(message)
        moved = any(name == "__debezium.newkey" for name, _ in message.headers)
        self._put(key, Event(position, None, moved=moved))

    def _put_row(self, message: Message, envelope: Mapping[str, Any], reader: Reader, position: Position) -> None:
        row, before = envelope.get("after"), envelope.get("before")
        if row is None:
            raise Malformed("no 'after'")
        convert = reader.convert_part("after")
        key, extra = self._row_key(message, row, reader, convert)
        missing = tuple([name for name, value in row.items() if type(value) in TEXTS and unavailable(value)])
        old = self._old_key(message)
        if before is not None and self.names is not None and all(name in before for name in self.names):
            earlier = self._key_of(before, reader.convert_part("before"))
            if earlier != key and None not in earlier:
                self._put(earlier, Event(position, None, moved=True))
                old = earlier
        self._put(key, Event(position, row, convert, extra, missing, old if missing else None))

    def _put(self, key: Key, event: Event) -> None:
        if None in key:
            raise Malformed("a key column is NULL")
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
        return [event for event in self._keys[key] if event.position >= self.truncated]

    def _row(self, events: list[Event]) -> dict[str, Any] | None:
        event = events[-1]
        row = plain_row(event)
        if row is not None:
            for name in event.missing:
                row[name] = self._value(events, len(events) - 1, name, frozenset())
        return row

    def _value(self, events: list[Event], index: int, name: str, seen: frozenset[tuple[Key, Position]]) -> Any:
        """The value of a column after the event at `index`; None (NULL) where no row that is left holds it.

        `seen` are the moves gone back through, by old key and position: a row may come back to a key that it had.
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
        return self._value(events, index - 1, name, seen) if index else None

    def _row_key(
        self, message: Message, row: Any, reader: Reader, convert: Convert | None = None
    ) -> tuple[Key, Mapping[str, Any] | None]:
        """The key, and the key's fields that the row lacks."""
        if not isinstance(row, dict):
            raise Malformed("the value is no record")
        if self.rules.key is not None and all(name in row for name in self.rules.key):
            return self._key_of(row, convert or reader.convert), None
        if message.key is None:
            raise Malformed("no key")
        key, names, values = self._message_key(message)
        return key, None if all(name in row for name in names) else values

    def _message_key(self, message: Message) -> tuple[Key, tuple[str, ...], Mapping[str, Any]]:
        if message.key is None:
            raise Malformed("no key")
        raw, reader = self._payloads.read(message.key, message.topic, "key")
        value = reader.convert(raw) if reader.convert is not None else raw
        if not isinstance(value, dict):
            value = {self.rules.key[0] if self.rules.key else "key": value}
        names = self.rules.key or tuple(value)
        if not all(name in value for name in names):
            raise Malformed("the message key lacks a key column")
        self.names = names
        return tuple([_hashable(natural(value[name])) for name in names]), names, value

    def _key_of(self, row: Mapping[str, Any], convert: Convert | None) -> Key:
        value = convert(row) if convert is not None else row
        if not all(name in value for name in self.names or ()):
            raise Malformed("the row lacks a key column")
        return tuple([_hashable(natural(value[name])) for name in self.names or ()])

    def _old_key(self, message: Message) -> Key | None:
        for name, text in message.headers:
            if name == "__debezium.oldkey" and message.key is not None:
                _, reader = self._payloads.read(message.key, message.topic, "key")
                return _key_from_json(text, reader, self.names or ())
        return None


def _needed(events: list[Event]) -> list[Event]:
    """The newest whole event and what leans on it, and for each move away the row before it."""
    kept, need = [], True
    for event in reversed(events):
        if need or event.moved:
            kept.append(event)
            need = event.moved or bool(event.missing)
    return kept[::-1]


def _before_move(events: list[Event], position: Position) -> list[Event]:
    """The old key's events up to the delete that moved it, without that delete, which a replay may have repeated."""
    before = [event for event in events if event.position[:2] <= position[:2]]
    if not before or before[-1].row is not None:
        return before
    delete = before[-1].position[:2]
    return [event for event in before if event.row is not None or event.position[:2] != delete]


def plain_row(event: Event) -> dict[str, Any] | None:
    """The row of an event, canonical but for its units; None for a delete."""
    if event.row is None:
        return None
    row = event.convert(event.row) if event.convert is not None else event.row
    return {**(event.extra or {}), **row}


def _hashable(value: Any) -> Any:
    if isinstance(value, dict):
        return tuple((name, _hashable(part)) for name, part in sorted(value.items()))
    return tuple(map(_hashable, value)) if type(value) is list else value


def _key_from_json(text: bytes, reader: Reader, names: tuple[str, ...]) -> Key | None:
    """The key in a Debezium header; None where it does not fit the key's schema."""
    try:
        given = json.loads(text)
        given = given.get("payload", given)
        row = {name: _from_json(part, reader.part_type(name)) for name, part in given.items()}
        value = reader.convert(row) if reader.convert is not None else row
        return tuple([_hashable(natural(value[name])) for name in names])
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error):
        return None


def _from_json(value: Any, kind: str) -> Any:
    return base64.b64decode(value) if kind in ("bytes", "fixed") and isinstance(value, str) else value
