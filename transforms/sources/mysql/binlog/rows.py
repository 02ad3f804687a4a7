"""Row events to places: where each value of each row stands, by one compiled loop over all events of a table."""

from dataclasses import dataclass
from typing import Final

import numba
import numpy as np
from numpy.typing import NDArray

from .....schemas.errors import SourceError
from .....schemas.loops import array, compile_ahead, read_only
from . import event_types as types
from .event_types import DELETES, WRITES
from .events import Events, Whole
from .table_map import Column, TableMap

NULL, UNAVAILABLE = -1, -2
"""Sizes of values that are null, and of those that the event leaves out."""
INSERTED, UPDATED, DELETED = (ord(kind) for kind in "IUD")
SIZES: Final = {
    types.TINY: 1,
    types.SHORT: 2,
    types.INT24: 3,
    types.LONG: 4,
    types.LONGLONG: 8,
    types.YEAR: 1,
    types.NULL: 0,
    types.DATE: 3,
    types.NEWDATE: 3,
    types.TIME: 3,
    types.DATETIME: 8,
    types.TIMESTAMP: 4,
}
WHOLE_PART: Final = {types.TIME2: 3, types.TIMESTAMP2: 4, types.DATETIME2: 5}
PREFIXED: Final = frozenset(
    (types.TINY_BLOB, types.MEDIUM_BLOB, types.LONG_BLOB, types.BLOB, types.JSON, types.GEOMETRY, types.VECTOR)
)
DIGITS: Final = (0, 1, 1, 2, 2, 3, 3, 4, 4)
"""Bytes of so many digits of a decimal, of those that do not fill a group of nine."""
PARTIAL: Final = (
    "PARTIAL_UPDATE_ROWS, an update of parts of JSON values, is not read; SET GLOBAL binlog_row_value_options = '' at "
    "the source, and copy the table again"
)


@dataclass(frozen=True, slots=True)
class Image:
    """Where the values of n rows begin, and their lengths, NULL or UNAVAILABLE: both (columns, n)."""

    at: NDArray[np.int64]
    size: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Rows:
    """n changes of one table in the order of the log. `event` is the number of each one's event, `kind` I, U or D.

    Of an insert `before` is all UNAVAILABLE, of a delete `after`.
    """

    event: NDArray[np.int64]
    kind: NDArray[np.int64]
    before: Image
    after: Image

    def __len__(self) -> int:
        return len(self.kind)


def size_of(column: Column) -> int:
    """The bytes of a value of the column; where each says its own, minus the bytes of its length."""
    kind, meta = column.kind, column.meta
    if kind in SIZES:
        return SIZES[kind]
    if kind in WHOLE_PART:
        return WHOLE_PART[kind] + (meta + 1) // 2
    if kind in (types.FLOAT, types.DOUBLE, types.ENUM, types.SET):
        return meta
    if kind == types.BIT:
        return (meta + 7) // 8
    if kind == types.NEWDECIMAL:
        return sum(digits // 9 * 4 + DIGITS[digits % 9] for digits in ((meta >> 8) - (meta & 255), meta & 255))
    if kind in PREFIXED:
        return -meta
    if kind in (types.VARCHAR, types.STRING):
        return -1 if meta < 256 else -2
    name = types.TYPE_NAMES.get(kind, f"type {kind}")
    raise SourceError(f"column {column.name}: values of the type {name} are not read")


def find_rows(events: Events, table: TableMap) -> Rows:
    """The changes in these events, all of which are rows of the table.

    Raises SourceError for bytes that are no rows of it, for an event of another kind, and for updates of parts of JSON
    values (`binlog_row_value_options=PARTIAL_JSON`), which are not read.
    """
    wrong = np.flatnonzero(~np.isin(events.kind, types.ROWS))
    if len(wrong):
        kind = int(events.kind[wrong[0]])
        raise events.failed(
            int(wrong[0]), PARTIAL if kind == types.PARTIAL_UPDATE else f"event type {kind} has no rows"
        )
    sizes = np.array([size_of(column) for column in table.columns], np.int64)
    _check_shapes(table)
    spans = np.stack([events.kind, events.start, events.stop], axis=1)
    nothing = np.empty((len(sizes), 0), np.int64)
    marks = np.empty((2, 0), np.int64)
    count = int(walk_rows(events.data, spans, sizes, marks, (nothing, nothing, nothing, nothing)))
    if count < 0:
        event = -1 - count
        raise events.failed(event, f"the rows are not those of {table.database}.{table.table} as its TABLE_MAP says")
    before = _room(len(sizes), count, there=not np.isin(events.kind, WRITES).all())
    after = _room(len(sizes), count, there=not np.isin(events.kind, DELETES).all())
    marks = np.empty((2, count), np.int64)
    walk_rows(events.data, spans, sizes, marks, (*before, *after))
    return Rows(marks[0], marks[1], _image(before, count), _image(after, count))


def _check_shapes(table: TableMap) -> None:
    for column in table.columns:
        kind, meta = column.kind, column.meta
        right = {
            types.FLOAT: meta == 4,
            types.DOUBLE: meta == 8,
            types.ENUM: meta in (1, 2),
            types.SET: 1 <= meta <= 8,
            types.BIT: 1 <= meta <= 64,
            types.NEWDECIMAL: 1 <= meta >> 8 <= 65 and meta & 255 <= min(meta >> 8, 38),
        }.get(kind, meta <= 6 if kind in WHOLE_PART else 1 <= meta <= 4 if kind in PREFIXED else True)
        if not right:
            raise SourceError(f"column {column.name}: a column of type {kind} has {meta} as its metadata")


def _room(columns: int, count: int, *, there: bool) -> tuple[Whole, Whole]:
    """Places and sizes to fill, or no room for an image that no event has."""
    shape = (columns, count if there else 0)
    return np.zeros(shape, np.int64), np.full(shape, UNAVAILABLE, np.int64)


def _image(room: tuple[Whole, Whole], count: int) -> Image:
    at, size = room
    if at.shape[1] == count:
        return Image(at, size)
    # One number stands for all, and takes no room.
    shape = (len(at), count)
    return Image(np.broadcast_to(np.int64(0), shape), np.broadcast_to(np.int64(UNAVAILABLE), shape))


@numba.njit(cache=True, nogil=True)
def _image_at(data, p, end, bitmap, sizes, at, size, row):  # type: ignore[no-untyped-def]
    """The place after a row at `p`, or -1 where it does not end before `end`. Places are kept where `at` has a row."""
    columns = len(sizes)
    present = 0
    for column in range(columns):
        present += data[bitmap + (column >> 3)] >> (column & 7) & 1
    nulls = p
    p += (present + 7) >> 3
    if p > end:
        return -1
    kept = row < at.shape[1]
    bit = 0
    for column in range(columns):
        if not data[bitmap + (column >> 3)] >> (column & 7) & 1:
            continue
        null = data[nulls + (bit >> 3)] >> (bit & 7) & 1
        bit += 1
        if null:
            if kept:
                size[column, row] = -1
            continue
        width = sizes[column]
        if width < 0:
            prefix = -width
            if p + prefix > end:
                return -1
            width = np.int64(0)
            for j in range(prefix):
                width |= np.int64(data[p + j]) << (8 * j)
            p += prefix
        if p + width > end:
            return -1
        if kept:
            at[column, row] = p
            size[column, row] = width
        p += width
    return p


@numba.njit(cache=True, nogil=True)
def _rows_at(data, p, end, kind, columns):  # type: ignore[no-untyped-def]
    """The place of an event's first bitmap, or -1: behind the table, the flags, what version 2 adds and the width."""
    p += 8
    if kind >= 30:
        if p + 2 > end:
            return -1
        more = np.int64(data[p]) | np.int64(data[p + 1]) << 8
        if more < 2:
            return -1
        p += more
    if p < end and data[p] < 251:
        return p + 1 if data[p] == columns else -1
    if p + 3 > end or data[p] != 252:
        return -1
    return p + 3 if (np.int64(data[p + 1]) | np.int64(data[p + 2]) << 8) == columns else -1


@compile_ahead(
    (
        read_only(np.uint8),
        array(np.int64, 2),
        array(np.int64),
        array(np.int64, 2),
        (array(np.int64, 2), array(np.int64, 2), array(np.int64, 2), array(np.int64, 2)),
    )
)
@numba.njit(cache=True, nogil=True)
def walk_rows(data, events, sizes, marks, places):  # type: ignore[no-untyped-def]
    """How many rows these events (kind, start, end) hold, or -1 minus the number of the first that cannot be read.

    Writes `marks` (event, kind) and `places` (at, size before; at, size after) where they have room.
    """
    before_at, before_size, after_at, after_size = places
    columns = len(sizes)
    wide = (columns + 7) >> 3
    row = 0
    for i in range(len(events)):
        kind, end = events[i, 0], events[i, 2]
        p = _rows_at(data, events[i, 1], end, kind, columns)
        updates, deletes = kind == 24 or kind == 31, kind == 25 or kind == 32
        bitmap = p
        second = p + wide if updates else p
        p = second + wide
        if bitmap < 0 or p > end:
            return -1 - i
        while p < end:
            begin = p
            if updates or deletes:
                p = _image_at(data, p, end, bitmap, sizes, before_at, before_size, row)
            if p >= 0 and not deletes:
                p = _image_at(data, p, end, second, sizes, after_at, after_size, row)
            if p <= begin:
                return -1 - i
            if row < marks.shape[1]:
                marks[0, row] = i
                marks[1, row] = 85 if updates else 68 if deletes else 73
            row += 1
    return row
