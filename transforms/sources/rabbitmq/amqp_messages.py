"""Finds key, body and headers of AMQP 1.0 messages, in a compiled loop.

Format: AMQP 1.0, part 1 (types) and part 3.2 (message format). A message is sections, each a described value: a zero,
the section's number, and the value. A value is a constructor and what the constructor's upper half says follows it:
nothing, 1, 2, 4, 8 or 16 bytes, or as many as a number of 1 or 4 bytes says.
"""

from typing import Final

import numba
import numpy as np

from ....schemas.loops import array, compile_ahead, read_only

_BEYOND, _UNKNOWN, _KEY_TYPE, _BODY_TYPE, _BODIES, _LEFT = 1, 2, 3, 4, 5, 6
PROBLEMS: Final = {
    _BEYOND: "the message is no AMQP 1.0: it ends inside a value",
    _UNKNOWN: "the message is no AMQP 1.0: a section of it is of an unknown kind",
    _KEY_TYPE: "the key is of an AMQP type that is neither text nor bytes",
    _BODY_TYPE: "the body is of an AMQP type that is neither text nor bytes",
    _BODIES: "the body has several parts",
}
"""What may be wrong with one message; the others of its chunk are good."""

_ANNOTATIONS, _PROPERTIES, _APPLICATION, _DATA, _SEQUENCE, _VALUE = 0x72, 0x73, 0x74, 0x75, 0x76, 0x77
_FIRST_SECTION, _LAST_SECTION = 0x70, 0x78
IN_PROPERTIES, IN_APPLICATION, IN_ANNOTATIONS = _PROPERTIES, _APPLICATION, _ANNOTATIONS


@numba.njit(cache=True, nogil=True)
def _number(data, at, size):  # type: ignore[no-untyped-def]
    """A big-endian number of so many bytes."""
    found = np.int64(0)
    for i in range(size):
        found = (found << np.int64(8)) | np.int64(data[at + i])
    return found


@numba.njit(cache=True, nogil=True)
def _value(data, at, end):  # type: ignore[no-untyped-def]
    """Place and length of what a constructor at `at` says, behind its own length; a place of -1: none."""
    if at >= end:
        return np.int64(-1), np.int64(0)
    group = data[at] >> 4
    at += 1
    length = np.int64(0)
    if 5 <= group <= 9:
        length = np.int64(1) << np.int64(group - 5)
    elif group >= 10:
        size = 1 if group % 2 == 0 else 4
        if at + size > end:
            return np.int64(-1), np.int64(0)
        length = _number(data, at, size)
        at += size
    elif group != 4:
        return np.int64(-1), np.int64(0)
    if length > end - at:
        return np.int64(-1), np.int64(0)
    return np.int64(at), length


@numba.njit(cache=True, nogil=True)
def _after(data, at, end):  # type: ignore[no-untyped-def]
    """The place after the value at `at`, which may be described; -1 where it reaches beyond the end."""
    pending = 1
    while pending:
        if at >= end:
            return np.int64(-1)
        if data[at] == 0:
            # A described value is two: what describes it, and itself.
            at, pending = at + 1, pending + 1
            continue
        at, length = _value(data, at, end)
        if at < 0:
            return np.int64(-1)
        at, pending = at + length, pending - 1
    return np.int64(at)


@numba.njit(cache=True, nogil=True)
def _bytes(data, at, end):  # type: ignore[no-untyped-def]
    """Place and length of a text, a symbol or bytes; length -1 for null, -2 for another type, -3 beyond the end."""
    kind = data[at]
    place, length = _value(data, at, end)
    if place < 0:
        return np.int64(-1), np.int64(-3)
    if kind == 0x40:
        return place, np.int64(-1)
    if kind in (0xA0, 0xA1, 0xA3, 0xB0, 0xB1, 0xB3):
        return place, length
    return place, np.int64(-2)


@numba.njit(cache=True, nogil=True)
def _entries(data, at, end):  # type: ignore[no-untyped-def]
    """Place of the first entry of a list or map, their number, and where it ends; a place of -1: it is none."""
    if at >= end:
        return np.int64(-1), np.int64(0), np.int64(0)
    kind = data[at]
    place, length = _value(data, at, end)
    if place < 0:
        return np.int64(-1), np.int64(0), np.int64(0)
    if kind == 0x45:
        return place, np.int64(0), place
    size = 1 if kind in (0xC0, 0xC1) else 4 if kind in (0xD0, 0xD1) else 0
    if size == 0 or length < size:
        return np.int64(-1), np.int64(0), np.int64(0)
    return place + size, _number(data, place, size), place + length


@numba.njit(cache=True, nogil=True)
def _same(data, at, length, name):  # type: ignore[no-untyped-def]
    same = length == len(name)
    for i in range(min(length, len(name))):
        same &= data[at + i] == name[i]
    return same


@numba.njit(cache=True, nogil=True)
def _key_of(data, at, end, name, index):  # type: ignore[no-untyped-def]
    """Place and length of the key in a section; length -1 where it has none, -2 for another type, -3 beyond the end.

    With `index` from 0 on it is the entry of a list, else the entry of a map whose name is `name`.
    """
    at, count, end = _entries(data, at, end)
    if at < 0:
        return at, np.int64(-3)
    if index >= 0:
        for _ in range(min(index, count)):
            at = _after(data, at, end)
            if at < 0:
                return at, np.int64(-3)
        if index >= count or at >= end:
            return at, np.int64(-1)
        return _bytes(data, at, end)
    for _ in range(count // 2):
        if at >= end:
            return at, np.int64(-3)
        place, length = _bytes(data, at, end)
        at = _after(data, at, end)
        if at < 0 or at >= end:
            return at, np.int64(-3)
        if length >= 0 and _same(data, place, length, name):
            return _bytes(data, at, end)
        at = _after(data, at, end)
        if at < 0:
            return at, np.int64(-3)
    return at, np.int64(-1)


@numba.njit(cache=True, nogil=True)
def _message(data, at, end, wanted, name, cell):  # type: ignore[no-untyped-def]
    """Fill `cell` (key, body, headers: a place and a length or count each); 0, or the problem of the message."""
    cell[1], cell[3], cell[5] = -1, -1, 0
    bodies = 0
    while at < end:
        if data[at] != 0 or at + 2 >= end:
            return _UNKNOWN
        place, length = _value(data, at + 1, end)
        if place < 0 or data[at + 1] not in (0x53, 0x80):
            return _UNKNOWN
        section = _number(data, place, length)
        if section < _FIRST_SECTION or section > _LAST_SECTION:
            return _UNKNOWN
        at = place + length
        stop = _after(data, at, end)
        if stop < 0:
            return _BEYOND
        if section == wanted[0]:
            cell[0], cell[1] = _key_of(data, at, stop, name, wanted[1])
            if cell[1] < -1:
                return _KEY_TYPE if cell[1] == -2 else _BEYOND
        if section == _APPLICATION:
            first, count, rest = _entries(data, at, stop)
            if first < 0 or not _pairs_fit(data, first, rest, count):
                return _BEYOND
            cell[4], cell[5] = first, count // 2
        elif section == _SEQUENCE:
            return _BODY_TYPE
        elif section in (_DATA, _VALUE):
            bodies += 1
            cell[2], cell[3] = _bytes(data, at, stop)
            if cell[3] < -1:
                return _BODY_TYPE
        at = stop
    return _BODIES if bodies > 1 else 0


@numba.njit(cache=True, nogil=True)
def _pairs_fit(data, at, end, count):  # type: ignore[no-untyped-def]
    """Whether so many values stand before the end, and their number is even."""
    if count % 2:
        return False
    for _ in range(count):
        at = _after(data, at, end)
        if at < 0:
            return False
    return True


_KEY: Final = (read_only(np.uint8), 1, array(np.int64), read_only(np.uint8), True)


@compile_ahead(
    (*_KEY, array(np.int64, 2), array(np.int64)), (*_KEY, np.zeros((3, 3), np.int64)[:, 1:], array(np.int64))
)
@numba.njit(cache=True, nogil=True)
def walk(data, shift, wanted, name, raw, cells, problems):  # type: ignore[no-untyped-def]
    """Fill `cells` (int64, 6 rows) and `problems` (int64) for as many messages as they have columns.

    Each message is its length (4 bytes) and its bytes. Rows: place and length of the key, of the body (length -1:
    null), place and count of the headers; `shift` is added to places. `wanted`: the section of the key, and its place
    in that section or -1 where its name is `name`. `raw`: the bytes are the body. Returns 0, or the number of messages
    before the one that reaches beyond the data, plus 1; with fewer bytes than messages, or more, the last number.
    """
    at = np.int64(0)
    cell = np.zeros(6, np.int64)
    for row in range(cells.shape[1]):
        if at + 4 > len(data):
            return row + 1
        length = _number(data, at, 4)
        at += 4
        if length > len(data) - at:
            return row + 1
        cell[:] = 0
        if raw:
            cell[1], cell[2], cell[3] = -1, at, length
            problems[row] = 0
        else:
            problems[row] = _message(data, at, at + length, wanted, name, cell)
        if problems[row]:
            # For the dead letter: the message as it came.
            cell[0], cell[1], cell[2], cell[3], cell[4], cell[5] = 0, -1, at, length, 0, 0
        for i in range(6):
            cells[i, row] = cell[i]
        for i in range(0, 6, 2):
            cells[i, row] += shift
        at += length
    return 0 if at == len(data) else cells.shape[1] + 1


@compile_ahead((read_only(np.uint8), array(np.int64), array(np.int64), array(np.int64, 2)))
@numba.njit(cache=True, nogil=True)
def find_headers(data, at, first, cells):  # type: ignore[no-untyped-def]
    """Fill `cells` with the headers of messages that `walk` found good.

    `cells` is int64, a column for each header: place and length of its name, place and length of its value (-1: null).
    Of a value that is neither text nor bytes, that is the AMQP value with its constructor. `at` is by message the place
    of its first header, `first` the number of that header.
    """
    for row in range(len(at)):
        p = at[row]
        for i in range(first[row], first[row + 1]):
            for part in range(2):
                place, length = _bytes(data, p, len(data))
                after = _after(data, p, len(data))
                if length < -1:
                    place, length = p, after - p
                cells[2 * part, i], cells[2 * part + 1, i] = place, length
                p = after


@compile_ahead((read_only(np.uint8), 1, array(np.int64, 2)))
@numba.njit(cache=True, nogil=True)
def find_runs(data, entries, cells):  # type: ignore[no-untyped-def]
    """Fill `cells` (int64, 5 rows) with the runs of a chunk's entries; their number, or -1 where they do not fit.

    A run is simple entries that follow one another, or one sub-batch. Rows: place, length, number of messages, codec
    (-1: simple entries) and the length when decompressed.
    """
    at, runs = np.int64(0), 0
    open_run = False
    for _ in range(entries):
        if at >= len(data):
            return -1
        if data[at] & 0x80:
            if at + 11 > len(data):
                return -1
            length = _number(data, at + 7, 4)
            cells[0, runs], cells[1, runs], cells[2, runs] = at + 11, length, _number(data, at + 1, 2)
            cells[3, runs], cells[4, runs] = (data[at] >> 4) & 7, _number(data, at + 3, 4)
            at += 11 + length
            runs, open_run = runs + 1, False
        else:
            if at + 4 > len(data):
                return -1
            length = 4 + _number(data, at, 4)
            if not open_run:
                cells[0, runs], cells[1, runs], cells[2, runs] = at, 0, 0
                cells[3, runs], cells[4, runs] = -1, 0
                runs, open_run = runs + 1, True
            cells[1, runs - 1] += length
            cells[2, runs - 1] += 1
            at += length
        if at > len(data):
            return -1
    return runs if at == len(data) else -1
