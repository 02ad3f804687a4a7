"""Texts that stand for numbers: decimals with all their digits, dates and times in ISO 8601; compiled by numba."""

from typing import Final

import numpy as np

from ..columns.decimals import is_below
from ..columns.jit import compiled, inlined
from ..columns.text import NO_TIME, iso_clock, iso_date, iso_offset
from .errors import KIND, UNFIT
from .escapes import QUOTE
from .nodes import AS_NUMBER, AS_TEXT, FORMS, IN_CLOCK, IN_DAYS, IN_MOMENTS, IN_ZONE, SCALE, SLOT, STRIDE, B
from .scan import is_digit, number, string

DAY_SECONDS: Final = 86_400
SECOND: Final = 1_000_000_000
MOST_DIGITS: Final = 76
_TEN: Final = np.uint64(10)
_HALF: Final = np.uint64(0xFFFFFFFF)
_SHIFT: Final = np.uint64(32)


@compiled
def decimal_words(data, p, end, node, row, work):  # type: ignore[no-untyped-def]
    """A decimal that is written out, as a number or in a text: its unscaled number's words. The place behind it."""
    quoted = data[p] == QUOTE
    if not node[FORMS] & (AS_TEXT if quoted else AS_NUMBER):
        return -KIND
    start = p + 1 if quoted else p
    stop = end
    if quoted:
        stop, _ = string(data, start, end)
        if stop < 0:
            return stop
    if start >= stop or not (is_digit(data[start]) or data[start] == 0x2D):
        return -KIND
    p, _ = number(data, start, stop)
    if p < 0 or (quoted and p != stop):
        return -KIND if quoted else p
    if not _unscaled(data, start, p, node, work.words):
        return -UNFIT
    slot, count = node[SLOT] + row, 2 if node[B] <= 38 else 4
    for i in range(count):
        work.values[slot + i * node[STRIDE]] = np.int64(work.words[i])
    return p + 1 if quoted else p


@compiled
def _unscaled(data, p, stop, node, words):  # type: ignore[no-untyped-def]
    """Write the number times ten to the scale, in two's complement; False where it has more digits than its type."""
    for i in range(4):
        words[i] = np.uint64(0)
    negative = data[p] == 0x2D
    # By how many digits the point moves to the right, from where it stands.
    exponent, mantissa = _exponent(data, p, stop)
    point, count, fraction = 0, 0, False
    for at in range(p, mantissa):
        point += 1 if fraction else 0
        fraction |= data[at] == 0x2E
    left = node[SCALE] + exponent - point
    # Zeros at the end that the scale cuts off, digit by digit.
    last = mantissa
    while left < 0 and last > p:
        last -= 1
        if data[last] != 0x2E and data[last] != 0x2D:
            if data[last] != 0x30:
                return False
            left += 1
    for at in range(p, last):
        if is_digit(data[at]):
            count += 1 if count or data[at] != 0x30 else 0
            if count > MOST_DIGITS:
                return False
            _append(words, np.uint64(data[at] - 0x30))
    if count:
        if count + left > MOST_DIGITS:
            return False
        for _ in range(left):
            _append(words, np.uint64(0))
    if negative:
        carry = np.uint64(1)
        for i in range(4):
            words[i] = ~words[i] + carry
            carry = np.uint64(1) if carry and words[i] == np.uint64(0) else np.uint64(0)
        negative = (words[0] | words[1] | words[2] | words[3]) != np.uint64(0)
    return is_below(words, node[B], negative)


@inlined
def _exponent(data, p, stop):  # type: ignore[no-untyped-def]
    """The number's exponent, and where its digits end."""
    while p < stop and data[p] not in (0x45, 0x65):
        p += 1
    mantissa, found = p, np.int64(0)
    negative = p + 1 < stop and data[p + 1] == 0x2D
    for at in range(p + 1, stop):
        if is_digit(data[at]) and found < 100_000:
            found = found * 10 + np.int64(data[at] - 0x30)
    return (-found if negative else found), mantissa


@inlined
def _append(words, digit):  # type: ignore[no-untyped-def]
    """Ten times the number, and a digit: in halves of words, whose products fit."""
    carry = digit
    for i in range(4):
        low = (words[i] & _HALF) * _TEN + carry
        high = (words[i] >> _SHIFT) * _TEN + (low >> _SHIFT)
        words[i] = (high << _SHIFT) | (low & _HALF)
        carry = high >> _SHIFT


@compiled
def time_number(data, p, stop, node):  # type: ignore[no-untyped-def]
    """Whether the text is a date or time as the node has it, exactly in its unit; and the number."""
    forms, unit = node[FORMS], node[SCALE]
    if not forms & (IN_DAYS | IN_CLOCK | IN_MOMENTS | IN_ZONE):
        return False, 0
    days = 0
    if not forms & IN_CLOCK:
        p, days = iso_date(data, p, stop)
        if days == NO_TIME:
            return False, 0
        if forms & IN_DAYS:
            return p == stop, days
        if p >= stop or data[p] not in (0x54, 0x20):
            return False, 0
        p += 1
    p, seconds = iso_clock(data, p, stop)
    if seconds < 0:
        return False, 0
    p, nanos = _nanos(data, p, stop)
    if nanos < 0 or nanos % unit:
        return False, 0
    if forms & IN_ZONE:
        p, offset = iso_offset(data, p, stop)
        if offset == NO_TIME:
            return False, 0
        seconds -= offset
    total = days * DAY_SECONDS + seconds
    if p != stop or abs(total) > (1 << 62) // SECOND * unit:
        return False, 0
    return True, total * (SECOND // unit) + nanos // unit


@inlined
def _nanos(data, p, stop):  # type: ignore[no-untyped-def]
    """The place behind a point and its digits, if there are any, and the nanoseconds; -1 where they are none."""
    if p >= stop or data[p] != 0x2E:
        return p, 0
    p += 1
    found, weight, first = np.int64(0), SECOND // 10, p
    while p < stop and is_digit(data[p]):
        if weight == 0 and data[p] != 0x30:
            return p, -1
        found += np.int64(data[p] - 0x30) * weight
        weight //= 10
        p += 1
    return p, found if p > first else -1
