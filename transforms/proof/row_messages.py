"""Messages of plain JSON to changes, for the proof, where a reader of their envelope says which rows they hold."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...schemas.model.message import Message
from .avro_reader import UNREADABLE, Reader
from .avro_validator import Malformed
from .changes import ChangeReader
from .column_placement import refuse_others
from .events import NO_POSITION, Change, Event, Key, Position
from .json_reader import Members
from .key_values import key_names
from .plain_json_reader import PlainJsonReader, parsed
from .row_change import JsonMessageReader, RowChange

Typed = tuple[RowChange, Any, Reader, Any, Reader]
"""What is said of a row, the row and the row before it, each with the reader of its types."""


@dataclass(slots=True)
class RowMessages(ChangeReader):
    """Reads one table's messages, each partition in its order; a message may hold several changes.

    What it leaves of a key counts: its changes have one place in the log.
    """

    reader: JsonMessageReader | None = None
    _seen: dict[str, None] = field(default_factory=dict)

    def read(self, message: Message) -> list[Change]:
        place = (message.topic, message.partition)
        deleted_before = self._deleted.pop(place, None)
        if message.value is None:
            if message.key is not None and deleted_before == message.key:
                return []
            raise Malformed("a tombstone without its delete")
        value = parsed(message.value)
        if not isinstance(value, Members) or self.reader is None:
            raise Malformed("no object")
        said = [one for one in self.reader.changes(dict(value.pairs)) if self._chosen(one)]
        typed = [self._typed(one) for one in said]
        if said and said[-1].deleted:
            self._deleted[place] = message.key
        found: dict[Key | None, Change] = {}
        first: Exception | None = None
        for one in typed:
            try:
                changes = self._changes_of(message, one)
            except UNREADABLE as error:
                first = first or error
                continue
            for change in changes:
                found.pop(change.key, None)
                found[change.key] = change
        if first is not None and not found:
            raise first
        source = self._sources.setdefault(place, message.source)
        return [Change(key, event._replace(source=source)) for key, event in found.values()]

    def _chosen(self, said: RowChange) -> bool:
        if self.rules.only is None:
            return True
        letters = (".*" if letter == "*" else re.escape(letter) for letter in self.rules.only)
        return re.fullmatch("".join(letters), said.table, re.DOTALL) is not None

    def _typed(self, said: RowChange) -> Typed:
        """Raises Malformed where a value is of another kind than its column: none of the message's rows counts."""
        assert isinstance(self._payloads, PlainJsonReader)
        row, reader = self._payloads.row(said.row)
        before, old = (row, reader) if said.before is None else self._payloads.row(said.before)
        return said, row, reader, before, old

    def _changes_of(self, message: Message, typed: Typed) -> list[Change]:
        said, row, reader, before, old_reader = typed
        position = self._position(message, said)
        if said.truncates:
            return [Change(None, Event(position, None, timestamp=message.timestamp))]
        if self.rules.key is None and not said.key:
            raise Malformed("nothing names the key")
        self.names = self.rules.key or key_names(said.key, self.names, self.rules.columns)
        key = self._whole_key(before if said.deleted else row, old_reader if said.deleted else reader)
        self._check_values(row, reader.convert)
        placing = self._placings.of(reader, None, self.names)
        if said.deleted:
            return [Change(key, Event(position, None, timestamp=message.timestamp))]
        missing = self._not_sent(said)
        refuse_others(placing, row, missing)
        event = Event(position, row, reader.convert, timestamp=message.timestamp, placing=placing)
        columns = missing if placing is None else placing.columns(missing)
        event = event._replace(missing=columns, not_sent=missing)
        left = None if said.before is None else self._key_of(before, old_reader.key_convert)
        if left is None or left == key or None in left:
            return [Change(key, event)]
        if said.partial and missing:
            raise Malformed("a row that went to another key, and is not whole")
        return [Change(left, Event(position, None, moved=True, timestamp=message.timestamp)), Change(key, event)]

    def _not_sent(self, said: RowChange) -> tuple[str, ...]:
        """The columns that rows had so far, or the target has, and this one lacks though it is not whole."""
        self._seen.update(dict.fromkeys(said.row))
        if not said.partial:
            return ()
        held = () if self.rules.columns is None else self.rules.columns.names
        known = dict.fromkeys([*self._seen, *(name for name in held if not name.startswith("_millrace_"))])
        return tuple([name for name in known if name not in said.row])

    def _position(self, message: Message, said: RowChange) -> Position:
        if self.rules.by_time:
            return self._position_by_time(message)
        if said.by_log:
            return self._position_in_log(message, "")
        order = (self.rules.epoch(message), *said.order)
        if said.order != NO_POSITION:
            newest = self._newest.setdefault((message.topic, message.partition), {})
            newest[""] = max(order, newest.get("", order))
        return (*order, message.offset)

    def _whole_key(self, row: Mapping[str, Any], reader: Reader) -> Key:
        key = self._key_of(row, reader.key_convert)
        if None in key:
            raise Malformed("a key column is NULL")
        return key
