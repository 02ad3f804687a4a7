"""Messages to changes, as the proof reads them: the key of the row, the position of the change, and the row."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...schemas.model.ledger import TopicPartition
from ...schemas.model.message import Message
from ...schemas.model.unrepresentable import SUFFIX, OnUnrepresentable
from .avro_reader import Reader
from .avro_validator import Malformed
from .avro_values import Convert
from .column_placement import Placings, refuse_others
from .debezium import bears_position, connector_name, is_of_no_table, not_sent, source_order, table_name
from .events import NO_POSITION, Change, Event, Key, Position
from .key_values import agreed, has_columns, key_from_json, key_names, key_part, spelled
from .payloads import Payloads, payload_reader
from .rules import Rules
from .unrepresentable import Noted


@dataclass(slots=True)
class ChangeReader:
    """Reads one table's messages, each partition in its order. `names` are the key's columns, once they are known.

    By (topic, partition): `_newest` is the largest (epoch, order) that each connector has streamed so far, `_deleted`
    the message key of a `d` that was the last message, whose tombstone may follow.
    """

    rules: Rules
    names: tuple[str, ...] | None = None
    _payloads: Payloads = field(init=False)
    _sources: dict[tuple[str, int], TopicPartition] = field(default_factory=dict)
    _newest: dict[tuple[str, int], dict[str, tuple[int, int, int]]] = field(default_factory=dict)
    _deleted: dict[tuple[str, int], bytes | None] = field(default_factory=dict)
    _placings: Placings = field(init=False)
    _sender: str | None = None
    _table: str = ""

    def __post_init__(self) -> None:
        self._payloads = payload_reader(self.rules)
        self.names = self.rules.key
        self._placings = Placings(
            self.rules.columns, self.rules.refuses_others, self.rules.on_unrepresentable, self.rules.renames
        )

    @property
    def connectors(self) -> set[str]:
        return {name for found in self._newest.values() for name in found}

    def read(self, message: Message) -> list[Change]:
        """The changes of one message: none, one, or two where a row moves to another key.

        Raises one of UNREADABLE where the message cannot be decoded; then it changes nothing.
        """
        place = (message.topic, message.partition)
        deleted_before = self._deleted.pop(place, None)
        self._table = ""
        self._sender = None if message.value is None and self.rules.format != "upsert" else f"the topic {message.topic}"
        if message.value is None:
            if message.key is not None and deleted_before == message.key and self.rules.format != "upsert":
                return []
            changes = [self._tombstone(message)]
        elif self.rules.format == "upsert":
            changes = [self._upsert(message, message.value)]
        else:
            changes = list(self._envelope(message, message.value))
        if any(change.key is not None and None in change.key for change in changes):
            raise Malformed("a key column is NULL")
        source = self._sources.setdefault(place, message.source)
        sender, table = self._sender, self._table
        return [Change(key, event._replace(source=source, sent_by=sender, table=table)) for key, event in changes]

    def _tombstone(self, message: Message) -> Change:
        if message.key is None:
            raise Malformed("neither key nor value")
        key, _, _ = self._message_key(message)
        return Change(key, Event(self._position_in_log(message), None, timestamp=message.timestamp))

    def _position_in_log(self, message: Message, connector: str | None = None) -> Position:
        """The position of what only the log orders: one step above all that its connector streamed before it.

        The connector of a tombstone is unknown (None): where its partition has several, it stands behind nothing.
        """
        if self.rules.by_time:
            return self._position_by_time(message)
        if self.rules.by_clock:
            return (max(message.timestamp, 0), 0, 0, message.offset)
        found = self._newest.get((message.topic, message.partition), {})
        if connector is None and len(found) == 1:
            (connector,) = found
        epoch = self.rules.epoch(message)
        start = (epoch, *NO_POSITION)
        _, commit, inner = start if connector is None else max(start, found.get(connector, start))
        return (epoch, commit, inner + ((commit, inner) != NO_POSITION), message.offset)

    def _position_by_time(self, message: Message) -> Position:
        return (self.rules.epoch(message), max(message.timestamp, 0), 0, message.offset)

    def _upsert(self, message: Message, value: bytes) -> Change:
        row, reader = self._payloads.read(value, message.topic, "value")
        key, extra = self._row_key(message, row, reader, reader.key_convert)
        self._check_values(row, reader.convert)
        missing = not_sent(row, self.rules.unavailable_value) if self.rules.flat else ()
        placing = self._placings.of(reader, None, self.rules.key or self.names or ())
        refuse_others(placing, row, missing)
        position = self._position_by_time(message) if self.rules.by_time else (0, 0, 0, message.offset)
        event = Event(position, row, reader.convert, extra, timestamp=message.timestamp)
        columns = missing if placing is None else placing.columns(missing)
        old = self._old_key(message) if missing else None
        return Change(key, event._replace(placing=placing, missing=columns, old_key=old, not_sent=missing))

    def _envelope(self, message: Message, value: bytes) -> Iterator[Change]:
        envelope, reader = self._payloads.read(value, message.topic, "value")
        if isinstance(envelope, dict) and is_of_no_table(envelope):
            return
        if not isinstance(envelope, dict) or "op" not in envelope:
            raise Malformed("no Debezium envelope")
        op = envelope["op"]
        if op == "m":
            return
        if op not in ("r", "c", "u", "d", "t"):
            raise Malformed(f"op {op!r}")
        place = (message.topic, message.partition)
        self._table = table_name(envelope)
        if bears_position(envelope.get("source")):
            self._sender = f"the connector {connector_name(envelope)!r}"
        if self.rules.by_time:
            yield from self._placed(op, message, envelope, reader, self._position_by_time(message))
            return
        if self.rules.by_clock:
            position = _position_by_clock(op, message, envelope.get("source"))
            yield from self._placed(op, message, envelope, reader, position)
            return
        if op == "r":
            position = self._position_in_log(message, connector_name(envelope))
            told = (connector_name(envelope), str((envelope.get("source") or {}).get("snapshot")))
            at = self._snapshot_at(message, envelope)
            for key, event in self._put_row(message, envelope, reader, position, at):
                yield Change(key, event._replace(snapshot=told))
            return
        numbers = source_order(envelope.get("source") or {})
        if numbers == NO_POSITION and op != "t":
            # Its place in the log is all there is.
            position = self._position_in_log(message, connector_name(envelope))
            yield from self._placed(op, message, envelope, reader, position)
            return
        order = (self.rules.epoch(message), *numbers)
        position = (*order, message.offset)
        newest, connector = self._newest.setdefault(place, {}), connector_name(envelope)
        newest[connector] = max(order, newest.get(connector, order))
        yield from self._placed(op, message, envelope, reader, position)

    def _placed(
        self, op: str, message: Message, envelope: dict[str, Any], reader: Reader, position: Position
    ) -> Iterator[Change]:
        """The changes of a message whose position is known."""
        if op == "t":
            yield Change(None, Event(position, None, timestamp=message.timestamp))
        elif op == "d":
            yield self._delete(message, envelope, reader, position)
            self._deleted[message.topic, message.partition] = message.key
        else:
            yield from self._put_row(message, envelope, reader, position)

    def _snapshot_at(self, message: Message, envelope: Mapping[str, Any]) -> Position:
        """The position that a snapshot row's own `source` names; it is compared with TRUNCATEs alone."""
        try:
            order = source_order(envelope.get("source") or {})
        except Malformed:
            order = NO_POSITION
        return (self.rules.epoch(message), *order, message.offset)

    def _delete(self, message: Message, envelope: Mapping[str, Any], reader: Reader, position: Position) -> Change:
        before = envelope.get("before")
        if self.rules.key is not None and before is not None:
            key = self._key_of(before, reader.convert_key_part("before"))
        else:
            key, _, _ = self._message_key(message)
        moved = any(name == "__debezium.newkey" for name, _ in message.headers)
        return Change(key, Event(position, None, moved=moved, timestamp=message.timestamp))

    def _put_row(
        self,
        message: Message,
        envelope: Mapping[str, Any],
        reader: Reader,
        position: Position,
        snapshot_at: Position | None = None,
    ) -> Iterator[Change]:
        row, before, at = envelope.get("after"), envelope.get("before"), message.timestamp
        if row is None:
            raise Malformed("no 'after'")
        convert = reader.convert_part("after")
        key, extra = self._row_key(message, row, reader, reader.convert_key_part("after"))
        self._check_values(row, convert)
        missing = not_sent(row, self.rules.unavailable_value)
        placing = self._placings.of(reader, "after", self.rules.key or self.names or ())
        refuse_others(placing, row, missing)
        old = self._old_key(message)
        if before is not None and self.names is not None and has_columns(before, self.names):
            earlier = self._key_of(before, reader.convert_key_part("before"))
            if earlier != key and None not in earlier:
                yield Change(earlier, Event(position, None, moved=True, timestamp=at))
                old = earlier
        yield Change(
            key,
            Event(
                position,
                row,
                convert,
                extra,
                missing if placing is None else placing.columns(missing),
                old if missing else None,
                timestamp=at,
                snapshot_at=snapshot_at,
                placing=placing,
                not_sent=missing,
            ),
        )

    def _row_key(
        self, message: Message, row: Any, reader: Reader, key_convert: Convert | None
    ) -> tuple[Key, Mapping[str, Any] | None]:
        """The key, and the key's fields that the row lacks."""
        if not isinstance(row, dict):
            raise Malformed("the value is no record")
        if self.rules.key is not None and has_columns(row, self.rules.key):
            return self._key_of(row, key_convert), None
        if message.key is None:
            raise Malformed("no key")
        key, names, values = self._message_key(message)
        key = tuple([agreed(part, row.get(name)) for part, name in zip(key, names, strict=True)])
        return key, None if all(row.get(name) is not None for name in names) else values

    def _message_key(self, message: Message) -> tuple[Key, tuple[str, ...], Mapping[str, Any]]:
        if message.key is None:
            raise Malformed("no key")
        raw, reader = self._payloads.read(message.key, message.topic, "key")
        value = reader.key_convert(raw) if reader.key_convert is not None else raw
        if isinstance(value, Noted):
            raise Malformed(f"no target has this key: {value.text}")
        if not isinstance(value, dict):
            value = {self.rules.key[0] if self.rules.key else "key": value}
        names = self.rules.key or key_names(tuple(value), self.names, self.rules.columns)
        value = spelled(value, names)
        if not has_columns(value, names):
            raise Malformed("the message key lacks a key column")
        self.names = names
        return tuple([key_part(value[name]) for name in names]), names, value

    def _key_of(self, row: Mapping[str, Any], convert: Convert | None) -> Key:
        value = convert(row) if convert is not None else row
        value = value.value if isinstance(value, Noted) else value
        names = self.names or ()
        value = spelled(value, names)
        if not has_columns(value, names):
            raise Malformed("the row lacks a key column")
        return tuple([key_part(value[name]) for name in names])

    def _check_values(self, row: Mapping[str, Any], convert: Convert | None) -> None:
        """Refuse a row with a value that no target has, where the job does not keep it. Raises Malformed."""
        strict = self.rules.on_unrepresentable is OnUnrepresentable.DEAD_LETTER
        if convert is not None and (strict or any(name.endswith(SUFFIX) for name in row)):
            found = convert(row)
            if isinstance(found, Noted):
                raise Malformed(f"no target has this value: {found.text}")

    def _old_key(self, message: Message) -> Key | None:
        for name, text in message.headers:
            if name == "__debezium.oldkey" and message.key is not None:
                _, reader = self._payloads.read(message.key, message.topic, "key")
                return key_from_json(text, reader, self.names or ())
        return None


def _position_by_clock(op: str, message: Message, source: Any) -> Position:
    """The source's clock, then its order; a row of a snapshot is below all that was streamed. Raises Malformed."""
    said = source if isinstance(source, Mapping) else {}
    clock = said.get("ts_ms")
    time = clock if isinstance(clock, int) else -1
    if op == "r":
        return (0, max(time, 0), 0, message.offset)
    if time < 0:
        raise Malformed("'source' tells no time")
    return (max(time, 1), *source_order(said), message.offset)
