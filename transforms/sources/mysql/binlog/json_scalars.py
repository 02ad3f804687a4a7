"""Scalars of MySQL's binary JSON as the server prints them. All write at `q`, and give the place after.

Where `out` has no room at all, nothing is written and places are counted. -1: the bytes are none of the type.
"""

from typing import Any, Final

import numba
import numpy as np
from numpy.typing import NDArray

from . import event_types as types

LITERALS: Final = np.frombuffer(b"null\0true\0false", np.uint8).copy()
BASE64: Final = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", np.uint8).copy()
PREFIX: Final = np.frombuffer(b'"base64:type', np.uint8).copy()
HEX: Final = np.frombuffer(b"0123456789abcdef", np.uint8).copy()
LINE: Final = 57
"""Bytes that the server writes as one line of base64."""
GROUP: Final = np.array([0, 1, 1, 2, 2, 3, 3, 4, 4, 4], np.int64)
MOST_E: Final = 15
"""Digits before the point up to which a whole double is written without an exponent; zeros behind it one less."""


def _escapes() -> NDArray[np.uint8]:
    """By byte what follows a backslash: 0 for bytes that are written as they are, `u` for four digits."""
    table = np.zeros(256, np.uint8)
    table[:32] = ord("u")
    for byte, letter in zip(b'"\\\b\f\n\r\t', b'"\\bfnrt', strict=True):
        table[byte] = letter
    return table


ESCAPES: Final = _escapes()
_njit: Any = numba.njit(cache=True, nogil=True)


@_njit
def put(out, q, byte):  # type: ignore[no-untyped-def]
    """One byte."""
    if q < len(out):
        out[q] = byte
    return q + 1


@_njit
def put_word(out, q, first, size):  # type: ignore[no-untyped-def]
    """A word of LITERALS."""
    for j in range(size):
        q = put(out, q, LITERALS[first + j])
    return q


@_njit
def put_number(out, q, value, least):  # type: ignore[no-untyped-def]
    """An unsigned number, with zeros up to `least` digits."""
    digits, rest = 1, value // np.uint64(10)
    while rest > 0:
        digits += 1
        rest //= np.uint64(10)
    digits = max(digits, least)
    for j in range(digits - 1, -1, -1):
        if q + j < len(out):
            out[q + j] = np.uint8(48) + np.uint8(value % np.uint64(10))
        value //= np.uint64(10)
    return q + digits


@_njit
def put_signed(out, q, value):  # type: ignore[no-untyped-def]
    """A number with its sign."""
    if value < 0:
        return put_number(out, put(out, q, 45), ~np.uint64(value) + np.uint64(1), 1)
    return put_number(out, q, np.uint64(value), 1)


@_njit
def put_text(out, q, data, p, size):  # type: ignore[no-untyped-def]
    """A string in quotes."""
    q = put(out, q, 34)
    for j in range(p, p + size):
        escape = ESCAPES[data[j]]
        if escape == 0:
            q = put(out, q, data[j])
            continue
        q = put(out, put(out, q, 92), escape)
        if escape == 117:
            q = put(out, put(out, q, 48), 48)
            q = put(out, put(out, q, HEX[data[j] >> 4]), HEX[data[j] & 15])
    return put(out, q, 34)


@_njit
def put_double(out, q, text, first, stop):  # type: ignore[no-untyped-def]
    """The shortest digits of a double, in whatever form `text` has them, with the point where the server puts it."""
    p = first
    if text[p] == 45:
        q = put(out, q, 45)
        p += 1
    # `count` digits from the first that is not 0; `point`: how many of them stand before the point.
    count, point, seen, leading, power, sign = 0, 0, False, True, 0, 1
    begin = p
    while p < stop and text[p] != 101:
        if text[p] == 46:
            seen = True
        else:
            leading = leading and text[p] == 48
            count += 0 if leading else 1
            point += (0 if leading or seen else 1) - (1 if leading and seen else 0)
        p += 1
    end = p
    for j in range(p + 1, stop):
        if text[j] == 45:
            sign = -1
        elif text[j] != 43:
            power = power * 10 + int(text[j]) - 48
    point = point + sign * power if count else 1
    while count > 1 and (text[end - 1] == 48 or text[end - 1] == 46):
        count -= 1 if text[end - 1] == 48 else 0
        end -= 1
    exponent = (point > MOST_E and point >= count) or point < 1 - MOST_E
    if not exponent and point <= 0:
        q = put(out, put(out, q, 48), 46)
        for _ in range(-point):
            q = put(out, q, 48)
    return _digits(out, q, text, (begin, end), 1 if exponent else point, point)


@_njit
def _digits(out, q, text, span, before, point):  # type: ignore[no-untyped-def]
    """The digits of a double with the point behind `before` of them, zeros where they are fewer, and the exponent."""
    begin, end = span
    written, leading = 0, True
    for j in range(begin, end):
        leading = leading and (text[j] == 48 or text[j] == 46)
        if leading or text[j] == 46:
            continue
        if written == before and before > 0:
            q = put(out, q, 46)
        q = put(out, q, text[j])
        written += 1
    if before != point:
        return put_signed(out, put(out, q, 101), np.int64(point - 1))
    while written < before:
        q = put(out, q, 48)
        written += 1
    if written == before:
        q = put(out, put(out, q, 46), 48)
    return q


@_njit
def put_decimal(out, q, data, p, size):  # type: ignore[no-untyped-def]
    """A decimal: its precision, its scale, and groups of nine digits."""
    if size < 2:
        return np.int64(-1)
    precision, scale = np.int64(data[p]), np.int64(data[p + 1])
    before = precision - scale
    if precision < 1 or precision > 81 or before < 0:
        return np.int64(-1)
    wanted = before // 9 * 4 + GROUP[before % 9] + scale // 9 * 4 + GROUP[scale % 9]
    p += 2
    if wanted != size - 2:
        return np.int64(-1)
    negative = data[p] < 128
    if negative:
        q = put(out, q, 45)
    flip, first, leading, done = 255 if negative else 0, 128, True, 0
    if before == 0:
        q = put(out, q, 48)
    while done < precision:
        if done < before:
            digits = before % 9 if done == 0 and before % 9 else 9
        else:
            digits = 9 if precision - done > 9 else precision - done
        group = np.int64(0)
        for _ in range(GROUP[digits]):
            group = group << 8 | (np.int64(data[p]) ^ flip ^ first)
            first = 0
            p += 1
        power = np.int64(10) ** (digits - 1)
        if group >= power * 10:
            return np.int64(-1)
        for _ in range(digits):
            if done == before:
                q = put(out, q, 46)
            digit = group // power % 10
            leading = bool(leading and digit == 0 and done + 1 < before)
            q = q if leading else put(out, q, 48 + digit)
            power //= 10
            done += 1
    return q


@_njit
def put_moment(out, q, kind, packed):  # type: ignore[no-untyped-def]
    """A time, a date, or both, in quotes: a number of 24 bits of microseconds and the fields above them."""
    q = put(out, q, 34)
    if kind == types.TIME and packed < 0:
        q = put(out, q, 45)
        packed = -packed
    fields, micros = packed >> 24, packed & 0xFFFFFF
    if micros > 999_999 or packed < 0:
        return np.int64(-1)
    if kind != types.TIME:
        day = fields >> 17
        q = put(out, put_number(out, q, np.uint64((day >> 5) // 13), 4), 45)
        q = put_number(out, put(out, put_number(out, q, np.uint64((day >> 5) % 13), 2), 45), np.uint64(day & 31), 2)
        fields &= 0x1FFFF
        if kind == types.DATE:
            return put(out, q, 34)
        q = put(out, q, 32)
    q = put(out, put_number(out, q, np.uint64(fields >> 12), 2), 58)
    q = put(out, put_number(out, q, np.uint64(fields >> 6 & 63), 2), 58)
    q = put(out, put_number(out, q, np.uint64(fields & 63), 2), 46)
    return put(out, put_number(out, q, np.uint64(micros), 6), 34)


@_njit
def put_base64(out, q, kind, data, p, size):  # type: ignore[no-untyped-def]
    """Any other value: `"base64:type15:yv4="`, with a line feed, which is escaped, behind each 57 bytes."""
    for j in range(len(PREFIX)):
        q = put(out, q, PREFIX[j])
    q = put(out, put_number(out, q, np.uint64(kind), 1), 58)
    for j in range(0, size, 3):
        if j and j % LINE == 0:
            q = put(out, put(out, q, 92), 110)
        bits = np.int64(0)
        for k in range(3):
            bits = bits << 8 | (np.int64(data[p + j + k]) if j + k < size else 0)
        for k in range(4):
            q = put(out, q, BASE64[bits >> (18 - 6 * k) & 63] if j + k <= size else 61)
    return put(out, q, 34)
