"""Where the snapshots of a table begin and end in the log of one partition, as their rows say."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

BEGINS: Final = 1
ENDS: Final = 2
ROWS: Final = 3

MOST_MARKS: Final = 32
"""How many marks of one connector a partition keeps: the newest."""


class SnapshotMark(NamedTuple):
    """The first (BEGINS) or the last row (ENDS) of a table's snapshot; `time` is the log's, in milliseconds.

    ROWS is the first one of those between in a partition that does not hold the very first.
    """

    kind: int
    offset: int
    time: int


class Ended(NamedTuple):
    """The last snapshot whose end was acted on, by the log's time; `kept` says why older rows stayed, if they did."""

    time: int
    kept: str = ""


Marks = tuple[SnapshotMark, ...]


def marks_joined(before: Marks, later: Marks) -> Marks:
    """The marks of a partition and those of a range behind it; what is known already is not added again."""
    found = list(before)
    for mark in later:
        last = found[-1] if found else None
        if last is None or (mark.offset > last.offset and (mark.kind != ROWS or last.kind == ENDS)):
            found.append(mark)
    return tuple(found[-MOST_MARKS:])


def tables_joined(before: Mapping[str, SnapshotMark], later: Mapping[str, SnapshotMark]) -> dict[str, SnapshotMark]:
    """The source's tables of a partition, each with its first change, and those of a range behind it.

    The first two tell enough: whether more than one stands before some place.
    """
    found = {**later, **before}
    return dict(sorted(found.items(), key=lambda one: (one[1].offset, one[0]))[:2])


def marks_of(found: Any) -> Marks:
    """What JSON has of marks."""
    return tuple(SnapshotMark(*one) for one in found)
