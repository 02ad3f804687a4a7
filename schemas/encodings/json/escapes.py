"""Escapes of JSON texts, and the bytes of UTF-8 that they stand for; compiled by numba."""

import numpy as np

from ..columns.jit import compiled, inlined
from .errors import ESCAPE

QUOTE, BACKSLASH = 0x22, 0x5C


@inlined
def _hex(data, p, end):  # type: ignore[no-untyped-def]
    """The number of four hexadecimal digits, or -1."""
    if p + 4 > end:
        return -1
    found = np.int64(0)
    for at in range(4):
        byte = np.int64(data[p + at])
        if 0x30 <= byte <= 0x39:
            digit = byte - 0x30
        elif 0x41 <= byte <= 0x46:
            digit = byte - 0x37
        elif 0x61 <= byte <= 0x66:
            digit = byte - 0x57
        else:
            return -1
        found = found * 16 + digit
    return found


@inlined
def _short_escape(byte):  # type: ignore[no-untyped-def]
    """The character that a backslash and this letter are, or -1."""
    if byte in (QUOTE, BACKSLASH, 0x2F):
        return np.int64(byte)
    if byte == 0x6E:
        return 10
    if byte == 0x72:
        return 13
    if byte == 0x74:
        return 9
    return 8 if byte == 0x62 else 12 if byte == 0x66 else -1


@compiled
def escape(data, p, end):  # type: ignore[no-untyped-def]
    """Read the escape at `p`: the place behind it (or minus an error), and the character."""
    if p + 1 >= end:
        return -ESCAPE, 0
    if data[p + 1] != 0x75:
        point = _short_escape(data[p + 1])
        return (p + 2, point) if point >= 0 else (-ESCAPE, 0)
    point = _hex(data, p + 2, end)
    p += 6
    if point < 0 or 0xDC00 <= point <= 0xDFFF:
        return -ESCAPE, 0
    if 0xD800 <= point <= 0xDBFF:
        if p + 1 >= end or data[p] != BACKSLASH or data[p + 1] != 0x75:
            return -ESCAPE, 0
        low = _hex(data, p + 2, end)
        if not 0xDC00 <= low <= 0xDFFF:
            return -ESCAPE, 0
        return p + 6, 0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00)
    return p, point


@compiled
def unescaped(data, p, end, out, o):  # type: ignore[no-untyped-def]
    """Write the text `data[p:end]` at `out[o:]`, its escapes read; the place behind it, or minus an error."""
    while p < end:
        if data[p] != BACKSLASH:
            out[o] = data[p]
            p, o = p + 1, o + 1
            continue
        p, point = escape(data, p, end)
        if p < 0:
            return p
        if point < 0x80:
            out[o] = point
            o += 1
            continue
        size = 2 if point < 0x800 else 3 if point < 0x10000 else 4
        out[o] = ((0xF00 >> size) & 0xFF) | (point >> (6 * (size - 1)))
        for i in range(1, size):
            out[o + i] = 0x80 | ((point >> (6 * (size - 1 - i))) & 0x3F)
        o += size
    return o
