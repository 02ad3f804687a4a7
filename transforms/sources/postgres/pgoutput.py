"""Messages of pgoutput and rows of a binary copy: where each value stands, by compiled loops.

Format: https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html
"""

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from ....schemas.loops import array, compile_ahead, read_only

NULL, UNCHANGED = -1, -2
"""Lengths of values that are null, and of large values that an update left as they were."""


@dataclass(frozen=True, slots=True)
class Rows:
    """n changes of one table. `record` is the number of each one's record, `kind` that record's kind.

    `at` and `size` (columns, n) are where each value's text begins and its length, or NULL or UNCHANGED; `old_at` and
    `old_size` the same of the row before, which `old` says there is: K of its key alone, O of all of it, 0 none.
    """

    record: NDArray[np.int64]
    kind: NDArray[np.int64]
    old: NDArray[np.int64]
    at: NDArray[np.int64]
    size: NDArray[np.int64]
    old_at: NDArray[np.int64]
    old_size: NDArray[np.int64]


def find_rows(data: NDArray[np.uint8], records: NDArray[np.int64], columns: int) -> Rows:
    """The changes in these records, none of which is a schema. Raises ValueError for rows of another width."""
    count = int(count_rows(data, records))
    places = np.zeros((4, columns, count), np.int64)
    marks = np.zeros((3, count), np.int64)
    if not fill_rows(data, records, places, marks):
        raise ValueError(f"a row of the log has not the {columns} columns that the log said before")
    return Rows(*marks, *places)


@numba.njit(cache=True, nogil=True)
def _short(data, p):  # type: ignore[no-untyped-def]
    value = np.int64(data[p]) << 8 | data[p + 1]
    return value - 65536 if value >= 32768 else value


@numba.njit(cache=True, nogil=True)
def _long(data, p):  # type: ignore[no-untyped-def]
    value = np.int64(data[p]) << 24 | np.int64(data[p + 1]) << 16 | np.int64(data[p + 2]) << 8 | data[p + 3]
    return value - 4294967296 if value >= 2147483648 else value


@compile_ahead((read_only(np.uint8), array(np.int64, 2)))
@numba.njit(cache=True, nogil=True)
def count_rows(data, records):  # type: ignore[no-untyped-def]
    """How many changes there are: one a message, and each row of a copy."""
    count = 0
    for i in range(len(records)):
        if records[i, 0] != 67:
            count += 1
            continue
        p, end = records[i, 3], records[i, 3] + records[i, 4]
        while p + 2 <= end:
            fields = _short(data, p)
            p += 2
            if fields < 0:
                break
            for _ in range(fields):
                size = _long(data, p)
                p += 4 + max(size, 0)
            count += 1
    return count


@compile_ahead((read_only(np.uint8),))
@numba.njit(cache=True, nogil=True)
def last_row(data):  # type: ignore[no-untyped-def]
    """Of a binary copy without its header: how many rows there are, and where the last one begins."""
    count, last, p = 0, 0, 0
    while p + 2 <= len(data):
        fields = _short(data, p)
        if fields < 0:
            break
        last, count = p, count + 1
        p += 2
        for _ in range(fields):
            p += 4 + max(_long(data, p), 0)
    return count, last


@numba.njit(cache=True, nogil=True)
def _tuple(data, p, at, size, row):  # type: ignore[no-untyped-def]
    """The place after a TupleData at `p`, or -1 where it has another number of columns."""
    if _short(data, p) != len(at):
        return -1
    p += 2
    for column in range(len(at)):
        kind = data[p]
        p += 1
        if kind == 110:
            size[column, row] = -1
        elif kind == 117:
            size[column, row] = -2
        else:
            size[column, row] = _long(data, p)
            at[column, row] = p + 4
            p += 4 + size[column, row]
    return p


@compile_ahead((read_only(np.uint8), array(np.int64, 2), array(np.int64, 3), array(np.int64, 2)))
@numba.njit(cache=True, nogil=True)
def fill_rows(data, records, places, marks):  # type: ignore[no-untyped-def]
    """Fill `places` (at, size, old_at, old_size) and `marks` (record, kind, old); false for a row of another width."""
    at, size, old_at, old_size = places[0], places[1], places[2], places[3]
    old_size[:] = -1
    size[:] = -1
    row = 0
    for i in range(len(records)):
        kind, p = records[i, 0], records[i, 3]
        if kind == 67:
            end = p + records[i, 4]
            while p + 2 <= end:
                fields = _short(data, p)
                p += 2
                if fields < 0:
                    break
                if fields != len(at):
                    return False
                for column in range(fields):
                    size[column, row] = _long(data, p)
                    at[column, row] = p + 4
                    p += 4 + max(size[column, row], 0)
                marks[0, row], marks[1, row] = i, kind
                row += 1
            continue
        marks[0, row], marks[1, row] = i, kind
        # After the kind and the relation's number: K or O and the row before, N and the row.
        p += 5
        if kind != 84:
            if data[p] != 78:
                marks[2, row] = data[p]
                p = _tuple(data, p + 1, old_at, old_size, row)
                if p < 0:
                    return False
            if kind != 68 and _tuple(data, p + 1, at, size, row) < 0:
                return False
        row += 1
    return True


@compile_ahead((read_only(np.uint8), array(np.int64), array(np.int64)))
@numba.njit(cache=True, nogil=True)
def gathered(data, at, size):  # type: ignore[no-untyped-def]
    """The values as Arrow keeps them: offsets (n + 1), bytes, and by value whether there is one."""
    offsets = np.empty(len(at) + 1, np.int64)
    there = np.empty(len(at), np.bool_)
    offsets[0] = 0
    for i in range(len(at)):
        there[i] = size[i] >= 0
        offsets[i + 1] = offsets[i] + max(size[i], 0)
    out = np.empty(offsets[-1], np.uint8)
    for i in range(len(at)):
        for j in range(max(size[i], 0)):
            out[offsets[i] + j] = data[at[i] + j]
    return offsets, out, there
