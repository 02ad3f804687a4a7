"""The references for tables that keep more than the newest rows: soft deletes, logs of changes, versions.

They read messages as `ReferenceTable` does and keep every event, so their memory is that of all messages.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from ...schemas.model import modes
from ...schemas.model.change import POSITION
from ...schemas.model.ledger import TopicPartition
from ...schemas.model.message import Message
from ...schemas.model.modes import Mode
from .canonical import SECOND, UNKNOWN, Moment
from .events import Change, Event, Key, Position, plain_row
from .reference_table import ReferenceTable
from .rules import Rules

MILLI: Final = SECOND // 1000
LATEST: Final = 253_402_300_799_999
"""The last millisecond of the year 9999."""

Row = dict[str, Any]


def reference_for(mode: Mode, rules: Rules, late: bool = False) -> ReferenceTable:
    """An empty reference for a table of this mode; `late`: changes may have been committed in another order."""
    if mode is Mode.SOFT_DELETE:
        return ReferenceSoftDelete(rules, marks_only=late)
    return _REFERENCES[mode](rules)


def marks_only(batches: Iterator[pa.RecordBatch], key: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Rows of a table of soft deletes, of the deleted ones only their key and marks: see `ReferenceSoftDelete`."""
    kept = {*key, *modes.NAMES[Mode.SOFT_DELETE], POSITION}
    for batch in batches:
        live = pc.invert(batch.column(modes.DELETED).fill_null(False))
        columns = [
            column if name in kept else pc.if_else(live, column, pa.scalar(None, column.type))
            for name, column in zip(batch.schema.names, batch.columns, strict=True)
        ]
        yield pa.RecordBatch.from_arrays(columns, schema=pa.schema([part.with_nullable(True) for part in batch.schema]))


@dataclass(slots=True)
class _EveryEvent(ReferenceTable):
    """Keeps all events of a key, by position."""

    def _put(self, key: Key, event: Event) -> None:
        events = self._keys.setdefault(key, [])
        at = bisect_left(events, event.position, key=lambda one: one.position)
        if at == len(events) or events[at].position != event.position:
            events.insert(at, event)

    def _named(self, key: Key) -> Row:
        return dict(zip(self.names or (), key, strict=True))


class _RestUnknown(dict[str, Any]):
    """A row whose other columns are UNKNOWN: they are in a message that the log no longer holds."""

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name, UNKNOWN)


@dataclass(slots=True)
class ReferenceSoftDelete(_EveryEvent):
    """A deleted row is the last one of its key, marked as deleted.

    With `marks_only`, only its key and the marks are told. For where changes are committed out of order, an upsert that
    comes after a later delete is refused, and the marked row keeps older values.
    """

    marks_only: bool = False

    def _row(self, events: list[Event]) -> Row | None:
        last = events[-1]
        if last.row is not None:
            marks = {modes.DELETED: False, modes.DELETED_AT: None}
            return {**(ReferenceTable._row(self, events) or {}), **marks}
        lived = next((at for at in range(len(events) - 1, -1, -1) if events[at].row is not None), None)
        row = None if lived is None or self.marks_only else ReferenceTable._row(self, events[: lived + 1])
        marked = {**(row or {}), modes.DELETED: True, modes.DELETED_AT: _moment(last.timestamp)}
        return _RestUnknown(marked) if lived is None and self.gone and not self.marks_only else marked

    def rows(self) -> Iterator[tuple[Key, Position, Row | None]]:
        """As in `ReferenceTable`."""
        for key, events in self._keys.items():
            yield key, events[-1].position, self.row(key)

    def row(self, key: Key) -> Row | None:
        """As in `ReferenceTable`; a row that was never there has its key alone."""
        if key not in self._keys:
            return None
        row = self._row(self._keys[key]) or {}
        for name, value in self._named(key).items():
            row.setdefault(name, value)
        return row


@dataclass(slots=True)
class ReferenceLog(_EveryEvent):
    """Every change is a row: its key is its place in Kafka, and what it does."""

    entries: dict[Key, tuple[Row, Event]] = field(default_factory=dict)

    def key_names(self, key: tuple[str, ...]) -> tuple[str, ...]:
        """Topic, partition, offset and what the change does."""
        return modes.LOG_KEY

    def rows(self) -> Iterator[tuple[Key, Position, Row | None]]:
        """Every change."""
        for key, (_, event) in self.entries.items():
            yield key, event.position, self.row(key)

    def row(self, key: Key) -> Row | None:
        """One change."""
        if key not in self.entries:
            return None
        named, event = self.entries[key]
        row = {**named, **(plain_row(event) or {}), **dict.fromkeys(event.missing)}
        told = {modes.TIMESTAMP: _moment(event.timestamp), modes.NOT_SENT: list(event.not_sent) or None}
        return {**row, **dict(zip(modes.LOG_KEY, key, strict=True)), **told}

    def position(self, key: Key) -> Position | None:
        """The position of one change."""
        return self.entries[key][1].position if key in self.entries else None

    def may_be_older(self, row: Mapping[str, Any], position: bytes | None) -> bool:
        """As in `ReferenceTable`: a change knows its place."""
        place = TopicPartition(row[modes.TOPIC], row[modes.PARTITION])
        return bool(row[modes.OFFSET] < self.gone.get(place, 0))

    def _apply(self, message: Message, change: Change) -> None:
        key, event = change
        if key is None and not self.rules.truncate:
            return
        deed = "truncate" if key is None else "delete" if event.row is None else "upsert"
        place = (message.topic, message.partition, message.offset, deed)
        self.entries[place] = self._named(key) if key is not None and event.row is None else {}, event


@dataclass(slots=True)
class ReferenceVersions(_EveryEvent):
    """Every upsert begins a version that the key's next event ends; a delete with no version before it is a row too."""

    def key_names(self, key: tuple[str, ...]) -> tuple[str, ...]:
        """The row's key and the version."""
        return (*ReferenceTable.key_names(self, key), modes.VERSION)

    def rows(self) -> Iterator[tuple[Key, Position, Row | None]]:
        """Every version."""
        for key, events in self._keys.items():
            for at, event in enumerate(events):
                row = self._version(key, at)
                if row is not None:
                    yield (*key, _digits(event.position)), event.position, row

    def row(self, key: Key) -> Row | None:
        """One version."""
        events = self._keys.get(key[:-1], [])
        at = next((at for at, event in enumerate(events) if _digits(event.position) == key[-1]), None)
        return None if at is None else self._version(key[:-1], at)

    def position(self, key: Key) -> Position | None:
        """None: the target's position of a version tells where it ended."""
        return None

    def may_be_older(self, row: Mapping[str, Any], position: bytes | None) -> bool:
        """As in `ReferenceTable`: a version is named by the position at which it began."""
        return ReferenceTable.may_be_older(self, row, bytes.fromhex(row[modes.VERSION]))

    def may_lack(self, key: Key) -> bool:
        """As in `ReferenceTable`: a delete is a row of its own only where no version stands before it."""
        first = self._keys[key[:-1]][0]
        return bool(self.gone) and first.row is None and _digits(first.position) == key[-1]

    def _version(self, key: Key, at: int) -> Row | None:
        events = self._keys[key]
        event, after = events[at], events[at + 1] if at + 1 < len(events) else None
        if event.row is None and at and events[at - 1].row is not None:
            return None
        ended = event if event.row is None else after
        return {
            **self._named(key),
            **(self._row(events[: at + 1]) or {}),
            modes.VERSION: _digits(event.position),
            modes.VALID_FROM: _moment(event.timestamp),
            modes.VALID_TO: None if ended is None else _moment(ended.timestamp),
            modes.IS_CURRENT: event.row is not None and after is None,
            modes.DELETED: event.row is None,
        }


_REFERENCES: Final[Mapping[Mode, type[ReferenceTable]]] = {
    Mode.MIRROR: ReferenceTable,
    Mode.APPEND: ReferenceLog,
    Mode.SCD2: ReferenceVersions,
}


def _moment(milliseconds: int) -> Moment | None:
    return Moment("instant", milliseconds, MILLI) if 0 <= milliseconds <= LATEST else None


def _digits(position: Position) -> str:
    return "".join(f"{part:016x}" for part in position)
