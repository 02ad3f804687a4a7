"""`on_snapshot: replace`, as the proof sees it: rows that a whole snapshot does not have end with it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from ...schemas.model.ledger import TopicPartition
from ...schemas.model.message import Message
from .events import Change, Event

FIRST: Final = ("first", "first_in_data_collection")
LAST: Final = ("last", "last_in_data_collection")


class Place(NamedTuple):
    """A message by the log's time, its partition and its offset."""

    time: int
    source: TopicPartition
    offset: int

    def is_behind(self, event: Event) -> bool:
        """Whether the event stands before this message in the log."""
        if event.source == self.source:
            return event.position[3] < self.offset
        return event.timestamp < self.time


class Whole(NamedTuple):
    """A snapshot from its first row to its last one."""

    begin: Place
    end: Place

    def missed(self, events: list[Event]) -> Event | None:
        """Of a key's events, by position, the one whose row stood there before the snapshot and is not in it."""
        after = self.end._replace(time=self.end.time + 1, offset=self.end.offset + 1)
        known = [event for event in events if after.is_behind(event)]
        last = known[-1] if known else None
        return last if last is not None and last.row is not None and self.begin.is_behind(last) else None

    def gone(self, event: Event) -> Event:
        """The end of the row that this event wrote, one step behind it."""
        *order, offset = event.position
        return Event((order[0], order[1], order[2], offset + 1), None, timestamp=self.end.time)


@dataclass(slots=True)
class SnapshotLog:
    """Where snapshots begin and end in a table's log. `ended` is what the ledger says of those it has acted on."""

    ended: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    marks: list[tuple[Place, str, str]] = field(default_factory=list)
    reached: dict[TopicPartition, int] = field(default_factory=dict)
    unread: list[Place] = field(default_factory=list)
    tables: dict[tuple[TopicPartition, str], Place] = field(default_factory=dict)

    def note(self, message: Message, changes: Iterable[Change] | None) -> None:
        """Take the next message; without changes it cannot be read."""
        self.reached[message.source] = max(message.timestamp, self.reached.get(message.source, -1))
        place = Place(message.timestamp, message.source, message.offset)
        if changes is None:
            self.unread.append(place)
            return
        for _, event in changes:
            if event.table:
                self.tables.setdefault((message.source, event.table), place)
        told = next((event.snapshot for _, event in changes if event.snapshot is not None), None)
        if told is not None and told[1] in (*FIRST, *LAST):
            self.marks.append((place, *told))

    def whole(self, connectors: Iterable[str], sources: Iterable[TopicPartition]) -> Iterator[Whole]:
        """The whole snapshots that end rows, in the log's order: those of the only connector of the table.

        Every partition must have been read past the end, by the log's time or, where nothing follows in one, by what
        the ledger says. Where a message of a snapshot cannot be read, or where several tables of the source write into
        the table, nothing ends.
        """
        if len({*connectors, *(connector for _, connector, _ in self.marks)}) > 1:
            return
        begin: Place | None = None
        for place, connector, mark in sorted(self.marks, key=lambda one: (one[0].time, one[2] in LAST, one[0])):
            if mark in FIRST:
                begin = place
            elif begin is not None:
                snapshot, begin = Whole(begin, place), None
                if (
                    self._of_one_table(place)
                    and self._read_past(place, connector, sources)
                    and not self._unread(snapshot)
                ):
                    yield snapshot

    def _read_past(self, end: Place, connector: str, sources: Iterable[TopicPartition]) -> bool:
        time, kept = self.ended.get(connector, (-1, ""))
        if end.time <= time:
            return end.time < time or not kept
        return all(source == end.source or self.reached.get(source, -1) > end.time for source in sources)

    def _of_one_table(self, end: Place) -> bool:
        """Whether all changes before the end of a snapshot are of one table of the source."""
        before = {
            table
            for (source, table), first in self.tables.items()
            if (first.offset <= end.offset if source == end.source else first.time <= end.time)
        }
        return len(before) < 2

    def _unread(self, snapshot: Whole) -> bool:
        return any(snapshot.begin.time <= place.time <= snapshot.end.time for place in self.unread)
