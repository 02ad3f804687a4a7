"""One value of JSON to its slots; called by `fill` alone. Each gives the place behind the value, or minus an error."""

import numpy as np

from ..columns.decimals import fits_precision
from ..columns.jit import compiled, inlined
from ..columns.text import NO_TIME, PLACEHOLDER_TIME, TEXT_AT, instant
from .errors import BASE64, KIND, RANGE
from .escapes import BACKSLASH, QUOTE, unescaped
from .nodes import AS_BASE64, AS_HEX, AS_NUMBER, AS_URL, FORMS, MARK, SLOT, STRIDE, A, B
from .number_texts import decimal_words
from .numbers import integer
from .scan import ESCAPED, is_digit, number, string, word
from .work import ARENA

MOST_DIGITS = 4_300
"""Of a number that becomes text; Python reads no longer ones."""


@inlined
def text(data, p, end, node, row, work):  # type: ignore[no-untyped-def]
    """A text, its slots the place and length: in the data, or with escapes in the arena behind them."""
    if data[p] != QUOTE:
        return _number_as_text(data, p, end, node, row, work)
    start = p + 1
    p, marks = string(data, start, end)
    if p < 0:
        return p
    slot = node[SLOT] + row
    if marks & ESCAPED:
        o = work.counts[ARENA]
        stop = unescaped(data, start, p, work.arena, o)
        if stop < 0:
            return stop
        work.counts[ARENA] = stop
        work.values[slot] = len(data) + o
        work.values[slot + node[STRIDE]] = stop - o
    else:
        work.values[slot] = start
        work.values[slot + node[STRIDE]] = p - start
    return p + 1


@compiled
def _number_as_text(data, p, end, node, row, work):  # type: ignore[no-untyped-def]
    if not node[FORMS] & AS_NUMBER or not (is_digit(data[p]) or data[p] == 0x2D):
        return -KIND
    start = p
    p, _ = number(data, p, end)
    if p - start > MOST_DIGITS:
        return -RANGE
    if p >= 0:
        # A zero has no sign.
        start += 1 if p == start + 2 and data[start] == 0x2D and data[start + 1] == 0x30 else 0
        work.values[node[SLOT] + row] = start
        work.values[node[SLOT] + row + node[STRIDE]] = p - start
    return p


@compiled
def boolean(data, p, end, node, row, work):  # type: ignore[no-untyped-def]
    if data[p] == 0x74:
        p = word(data, p, end, (0x74, 0x72, 0x75, 0x65))
        if p >= 0:
            work.values[node[SLOT] + row] = 1
        return p
    if data[p] != 0x66:
        return -KIND
    return word(data, p, end, (0x66, 0x61, 0x6C, 0x73, 0x65))


@compiled
def octets(data, p, end, node, row, work):  # type: ignore[no-untyped-def]
    """Bytes as base64 or hexadecimal digits, to the arena."""
    o = work.counts[ARENA]
    p, stop = _decoded(data, p, end, node, work.arena, o)
    if p < 0:
        return p
    if stop - o > node[A]:
        return -RANGE
    work.values[node[SLOT] + row] = len(data) + o
    work.values[node[SLOT] + row + node[STRIDE]] = stop - o
    work.counts[ARENA] = stop
    return p


@compiled
def _decoded(data, p, end, node, out, o):  # type: ignore[no-untyped-def]
    """The place behind a text of bytes, and where these end in `out`."""
    if data[p] != QUOTE:
        return -KIND, 0
    start = p + 1
    p, _ = string(data, start, end)
    if p < 0:
        return p, 0
    stop = _from_hex(data, start, p, out, o) if node[FORMS] & AS_HEX else _base64(data, start, p, node, out, o)
    return (p + 1, stop) if stop >= 0 else (stop, 0)


@inlined
def _six_bits(byte, minus, line):  # type: ignore[no-untyped-def]
    """What a letter of base64 stands for, or -1; `minus` and `line` are the two that are no letters or digits."""
    if 0x41 <= byte <= 0x5A:
        return byte - 0x41
    if 0x61 <= byte <= 0x7A:
        return byte - 0x47
    if 0x30 <= byte <= 0x39:
        return byte + 4
    return 62 if byte == minus else 63 if byte == line else -1


@compiled
def _base64(data, p, stop, node, out, o):  # type: ignore[no-untyped-def]
    letters = stop - p
    minus, line = (0x2D, 0x5F) if node[FORMS] & AS_URL else (0x2B, 0x2F)
    # Only a slash may be escaped: each takes a byte more.
    for at in range(p, stop):
        letters -= 1 if data[at] == BACKSLASH else 0
    if letters % 4:
        return -BASE64
    padding = 0
    while padding < 2 and padding < letters and data[stop - 1 - padding] == 0x3D:
        padding += 1
    group, held = 0, 0
    for _ in range(letters - padding):
        byte = np.int64(data[p])
        p += 1
        if byte == BACKSLASH:
            byte = np.int64(data[p])
            p += 1
            if byte != 0x2F:
                return -BASE64
        bits = _six_bits(byte, minus, line)
        if bits < 0:
            return -BASE64
        group, held = ((group << 6) | bits) & 0xFFFFFF, held + 6
        if held >= 8:
            held -= 8
            out[o] = (group >> held) & 0xFF
            o += 1
    # Bits that belong to no byte are zero.
    return -BASE64 if group & ((1 << held) - 1) else o


@compiled
def _from_hex(data, p, stop, out, o):  # type: ignore[no-untyped-def]
    if (stop - p) % 2:
        return -BASE64
    while p < stop:
        pair = np.int64(0)
        for i in range(2):
            byte = np.int64(data[p + i])
            letter = (byte | 0x20) - 0x57
            digit = byte - 0x30 if is_digit(byte) else letter if letter > 9 else 16
            if digit > 15:
                return -BASE64
            pair = pair * 16 + digit
        out[o] = pair
        p, o = p + 2, o + 1
    return o


@inlined
def _prefix(out, o, size):  # type: ignore[no-untyped-def]
    """Write a length as `columns.arrays` reads it before a value that its type has not; the place behind it."""
    left = np.uint64(size << 1)
    while left >= np.uint64(128):
        out[o] = np.uint8((left & np.uint64(127)) | np.uint64(128))
        left = left >> np.uint64(7)
        o += 1
    out[o] = np.uint8(left)
    return o + 1


@compiled
def decimal(data, p, end, node, row, work):  # type: ignore[no-untyped-def]
    """A decimal to the words of its unscaled number; one of more digits than its type has stands in the arena."""
    if not node[FORMS] & AS_BASE64 or data[p] != QUOTE:
        return decimal_words(data, p, end, node, row, work)
    start = work.counts[ARENA]
    size, _ = string(data, p + 1, end)
    if size < 0:
        return size
    # The bytes are written behind room for their length, which is moved to them.
    room = 10
    p, stop = _decoded(data, p, end, node, work.arena, start + room)
    if p < 0:
        return p
    count = stop - start - room
    fits = fits_precision(work.arena, start + room, count, node[B], work.words)
    words = 2 if node[B] <= 38 else 4
    slot = node[SLOT] + row
    for i in range(words):
        work.values[slot + i * node[STRIDE]] = np.int64(work.words[i])
    if not fits:
        o = _prefix(work.arena, start, count)
        for i in range(count):
            work.arena[o + i] = work.arena[start + room + i]
        work.counts[ARENA] = o + count
        work.values[slot + (words - 1) * node[STRIDE]] = TEXT_AT + len(data) + start
    return p


@compiled
def zoned(data, p, end, node, row, work):  # type: ignore[no-untyped-def]
    """An instant in ISO 8601; other texts stand in the arena."""
    if data[p] != QUOTE:
        return integer(data, p, end, node, row, work) if node[FORMS] & AS_NUMBER else -KIND
    start = p + 1
    p, marks = string(data, start, end)
    if p < 0:
        return p
    micros = NO_TIME if marks & ESCAPED else instant(data, start, p)
    if micros == NO_TIME:
        o = work.counts[ARENA]
        # Twice: the length is known when the escapes are read.
        stop = unescaped(data, start, p, work.arena, o)
        if stop < 0:
            return stop
        size = stop - o
        micros = instant(work.arena, o, stop)
        if micros == NO_TIME:
            begin = _prefix(work.arena, o, size)
            stop = unescaped(data, start, p, work.arena, begin)
            work.counts[ARENA] = stop
            micros = TEXT_AT + len(data) + o
    work.values[node[SLOT] + row] = micros
    if node[MARK] >= 0:
        absent = micros == PLACEHOLDER_TIME or TEXT_AT <= micros < TEXT_AT + (1 << 39)
        work.valid[node[MARK] + row] = 0 if absent else 1
    return p + 1
