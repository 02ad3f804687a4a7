"""Which snapshots of a table are whole: from their first row to their last one, wherever these stand."""

from collections.abc import Mapping
from dataclasses import dataclass

from ..model.ledger import TopicPartition
from ..model.snapshot_marks import BEGINS, ROWS, SnapshotMark
from ..model.source_mark import SourceMark


@dataclass(frozen=True, slots=True)
class WholeSnapshot:
    """A snapshot by its first and its last row, and the partitions in which they stand."""

    connector: str
    begin: SnapshotMark
    begins_in: TopicPartition
    end: SnapshotMark
    ends_in: TopicPartition

    def tables(self, marks: Mapping[TopicPartition, SourceMark]) -> list[str]:
        """The source's tables of which changes stand before its end, as far as the partitions have been read."""
        return sorted(
            {
                name
                for source, mark in marks.items()
                for name, first in mark.tables.items()
                if (first.offset <= self.end.offset if source == self.ends_in else first.time <= self.end.time)
            }
        )


def whole_snapshots(marks: Mapping[TopicPartition, SourceMark]) -> list[WholeSnapshot]:
    """The snapshots that have a beginning and an end, in the order of the log's time.

    One that was broken off begins again: its end belongs to the newest beginning. An end without a beginning is none,
    for nobody knows what stood before it.
    """
    found = [
        (connector, mark.time, mark.kind, source, mark)
        for source, one in marks.items()
        for connector, known in one.snapshots.items()
        for mark in known
        if mark.kind != ROWS
    ]
    whole: list[WholeSnapshot] = []
    opened: dict[str, tuple[TopicPartition, SnapshotMark]] = {}
    for connector, _, kind, source, mark in sorted(found, key=lambda one: one[1:4]):
        if kind == BEGINS:
            opened[connector] = source, mark
        elif connector in opened:
            begins_in, begin = opened.pop(connector)
            whole.append(WholeSnapshot(connector, begin, begins_in, mark, source))
    return whole
