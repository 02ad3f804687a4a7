"""MySQL's binary JSON to text: one compiled loop over documents, with a stack of its own.

Format: https://dev.mysql.com/doc/dev/mysql-server/latest/json__binary_8h.html
"""

from typing import Any, Final

import numba
import numpy as np

from .....schemas.loops import array, compile_ahead, read_only
from . import event_types as types
from .json_scalars import (
    put,
    put_base64,
    put_decimal,
    put_double,
    put_moment,
    put_number,
    put_signed,
    put_text,
    put_word,
)

DEPTH: Final = 101
"""Containers within one another: the server allows 100."""
FRAME: Final = 6
BASE, STOP, COUNT, NEXT, WIDE, OBJECT = range(FRAME)
"""Columns of the stack: where a container begins and ends, its elements, the next one, whether offsets are long."""
SMALL_OBJECT, LARGE_OBJECT, SMALL_ARRAY, LARGE_ARRAY, LITERAL = range(5)
INT16, UINT16, INT32, UINT32, INT64, UINT64, DOUBLE, STRING = range(5, 13)
OPAQUE: Final = 15
_MOMENTS: Final = (types.TIME, types.DATE, types.DATETIME, types.TIMESTAMP)
_njit: Any = numba.njit(cache=True, nogil=True)


@_njit
def _number(data, p, size):  # type: ignore[no-untyped-def]
    value = np.int64(0)
    for j in range(size):
        value |= np.int64(data[p + j]) << (8 * j)
    return value


@_njit
def _length(data, p, end):  # type: ignore[no-untyped-def]
    """A length of seven bits a byte, and the place after it; -1 where it passes the end."""
    value, shift = np.int64(0), 0
    while p < end and shift < 35:
        byte = np.int64(data[p])
        value |= (byte & 127) << shift
        p += 1
        if byte < 128:
            return (value, p) if p + value <= end else (np.int64(-1), p)
        shift += 7
    return np.int64(-1), p


@_njit
def _integer(data, p, end, kind, out, q):  # type: ignore[no-untyped-def]
    size = 2 if kind <= UINT16 else 4 if kind <= UINT32 else 8
    if p + size > end:
        return np.int64(-1)
    value = _number(data, p, size)
    if kind in (UINT16, UINT32, UINT64):
        return put_number(out, q, np.uint64(value), 1)
    shift = 64 - 8 * size
    return put_signed(out, q, value << shift >> shift)


@_njit
def _double(data, p, end, doubles, out, q):  # type: ignore[no-untyped-def]
    """Keep the number where `found` has room; write its text where there is one. `used[0]` counts them."""
    used, found, offsets, text = doubles
    if p + 8 > end:
        return np.int64(-1)
    number = used[0]
    used[0] += 1
    if number < len(found):
        found[number] = _number(data, p, 8)
    if number + 1 < len(offsets):
        return put_double(out, q, text, offsets[number], offsets[number + 1])
    return q


@_njit
def _opaque(data, p, end, out, q):  # type: ignore[no-untyped-def]
    if p >= end:
        return np.int64(-1)
    kind = data[p]
    size, p = _length(data, p + 1, end)
    if size < 0:
        return np.int64(-1)
    if kind == types.NEWDECIMAL:
        return put_decimal(out, q, data, p, size)
    if kind in _MOMENTS:
        return put_moment(out, q, kind, _number(data, p, 8)) if size == 8 else np.int64(-1)
    return put_base64(out, q, kind, data, p, size)


@_njit
def _scalar(data, p, end, kind, doubles, out, q):  # type: ignore[no-untyped-def]
    """The place after the text of a value that holds no others, or -1."""
    if kind == LITERAL:
        if p >= end or data[p] > 2:
            return np.int64(-1)
        return put_word(out, q, 5 * data[p], 5 if data[p] == 2 else 4)
    if kind == DOUBLE:
        return _double(data, p, end, doubles, out, q)
    if INT16 <= kind <= UINT64:
        return _integer(data, p, end, kind, out, q)
    if kind == STRING:
        size, p = _length(data, p, end)
        return put_text(out, q, data, p, size) if size >= 0 else np.int64(-1)
    return _opaque(data, p, end, out, q) if kind == OPAQUE else np.int64(-1)


@_njit
def _opened(data, p, end, kind, frame):  # type: ignore[no-untyped-def]
    """Fill the frame of a container; whether its head and entries lie within it."""
    wide = kind in (LARGE_OBJECT, LARGE_ARRAY)
    size = 4 if wide else 2
    if p + 2 * size > end:
        return False
    frame[BASE], frame[NEXT] = p, 0
    frame[COUNT], frame[STOP] = _number(data, p, size), p + _number(data, p + size, size)
    frame[WIDE], frame[OBJECT] = wide, kind <= LARGE_OBJECT
    entry = 1 + size + (size + 2 if frame[OBJECT] else 0)
    return frame[STOP] <= end and p + 2 * size + entry * frame[COUNT] <= frame[STOP]


@_njit
def _key(data, frame, out, q):  # type: ignore[no-untyped-def]
    size = 4 if frame[WIDE] else 2
    entry = frame[BASE] + 2 * size + frame[NEXT] * (size + 2)
    p, length = frame[BASE] + _number(data, entry, size), _number(data, entry + size, 2)
    if p + length > frame[STOP]:
        return np.int64(-1)
    q = put_text(out, q, data, p, length)
    return put(out, put(out, q, 58), 32)


@_njit
def _entry(data, frame):  # type: ignore[no-untyped-def]
    """The type and the place of a container's next value: of small ones within the entry."""
    size = 4 if frame[WIDE] else 2
    entry = frame[BASE] + 2 * size + frame[NEXT] * (size + 1)
    entry += frame[COUNT] * (size + 2) if frame[OBJECT] else 0
    kind = np.int64(data[entry])
    inside = LITERAL <= kind <= UINT16 or (frame[WIDE] and kind <= UINT32 and kind >= LITERAL)
    return kind, entry + 1 if inside else frame[BASE] + _number(data, entry + 1, size)


@_njit
def _document(data, span, stack, doubles, out, q):  # type: ignore[no-untyped-def]
    """The place after the text of one document, or -1. A document has an element for each three bytes at most."""
    p, end = span
    if p == end:
        return put_word(out, q, 0, 4)
    # No valid text is longer than this: a hostile one could name the same bytes again and again.
    most = q + 64 * (end - p) + 64
    kind, depth = np.int64(data[p]), 0
    p += 1
    while True:
        if kind <= LARGE_ARRAY:
            if depth == DEPTH or not _opened(data, p, end, kind, stack[depth]):
                return np.int64(-1)
            q = put(out, q, 123 if stack[depth, OBJECT] else 91)
            depth += 1
        else:
            q = _scalar(data, p, end, kind, doubles, out, q)
        if q < 0 or q > most:
            return np.int64(-1)
        while depth and stack[depth - 1, NEXT] == stack[depth - 1, COUNT]:
            depth -= 1
            q = put(out, q, 125 if stack[depth, OBJECT] else 93)
        if depth == 0:
            return q
        frame = stack[depth - 1]
        if frame[NEXT]:
            q = put(out, put(out, q, 44), 32)
        if frame[OBJECT]:
            q = _key(data, frame, out, q)
            if q < 0:
                return q
        kind, p = _entry(data, frame)
        end = frame[STOP]
        frame[NEXT] += 1


@compile_ahead(
    (
        read_only(np.uint8),
        (array(np.int64), array(np.int64)),
        array(np.int64, 2),
        (array(np.int64), array(np.int64), array(np.int64), read_only(np.uint8)),
        (array(np.int64), array(np.uint8)),
    ),
    slow=True,
)
@_njit
def write_documents(data, values, stack, doubles, written):  # type: ignore[no-untyped-def]
    """Write each document to `out[offsets[i]:]`, and `offsets`; the first that is no JSON, or -1.

    Without room in `out` only `offsets` are written, without the doubles, whose texts are not known then. `doubles`:
    how many there were, their bits, and the offsets and bytes of their texts.
    """
    at, size = values
    offsets, out = written
    q = np.int64(0)
    offsets[0] = 0
    for i in range(len(at)):
        if size[i] >= 0:
            q = _document(data, (at[i], at[i] + size[i]), stack, doubles, out, q)
            if q < 0:
                return i
        offsets[i + 1] = q
    return -1
