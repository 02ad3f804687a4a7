"""Numbers of JSON to their slots; called by `fill` alone. Each gives the place behind the value, or minus an error."""

import numpy as np

from ..columns.jit import compiled, inlined
from .errors import FULL, KIND, RANGE, SYNTAX, TRUNCATED
from .escapes import QUOTE
from .nodes import AS_TEXT, FORMS, SINGLE, SLOT, A, B
from .nodes import KIND as OF
from .number_texts import time_number
from .scan import is_digit, number, string
from .work import EXACT, FLOATS, GOES, LENGTH, NODE, PAYLOAD, ROW, SIZE, TEXT_PLACE, WANTED

# Powers of ten that a double, and a float, holds exactly.
_TENS = np.array([10.0**power for power in range(23)])
_SINGLE_TENS = np.array([10.0**power for power in range(11)], np.float32)
_TEN = np.uint64(10)


@inlined
def integer(data, p, end, node, row, work):  # type: ignore[no-untyped-def]
    """A whole number between the node's bounds."""
    if data[p] == QUOTE:
        return _integer_text(data, p, end, node, row, work)
    p, found = _whole(data, p, end, node)
    if p >= 0:
        work.values[node[SLOT] + row] = found
    return p


@inlined
def _whole(data, p, end, node):  # type: ignore[no-untyped-def]
    """The place behind a whole number, and the number."""
    negative = data[p] == 0x2D
    first = p + 1 if negative else p
    found, p = np.uint64(0), first
    # Nineteen digits fit into 64 bits without a sign.
    stop = min(end, first + 19)
    while p < stop and is_digit(data[p]):
        found = found * _TEN + np.uint64(data[p] - 0x30)
        p += 1
    if p == first:
        return (-TRUNCATED if p >= end else -KIND if not negative else -SYNTAX), 0
    if p > first + 1 and data[first] == 0x30:
        return -SYNTAX, 0
    if p < end and data[p] in (0x2E, 0x45, 0x65):
        return -KIND, 0
    if p < end and is_digit(data[p]):
        return -RANGE, 0
    if found > (np.uint64(1) << np.uint64(63)) - np.uint64(0 if negative else 1):
        return -RANGE, 0
    signed = -np.int64(found) if negative else np.int64(found)
    if signed < node[A] or signed > node[B]:
        return -RANGE, 0
    return p, signed


@compiled
def _integer_text(data, p, end, node, row, work):  # type: ignore[no-untyped-def]
    """A whole number in a text, or a date or time."""
    if not node[FORMS] & AS_TEXT:
        return -KIND
    stop, marks = string(data, p + 1, end)
    if stop < 0:
        return stop
    if marks or stop == p + 1:
        return -KIND
    good, found = time_number(data, p + 1, stop, node)
    if not good:
        behind, found = _whole(data, p + 1, stop, node)
        if behind != stop:
            return -RANGE if behind == -RANGE else -KIND
    if found < node[A] or found > node[B]:
        return -RANGE
    work.values[node[SLOT] + row] = found
    return stop + 1


@compiled
def real(data, p, end, node, row, work):  # type: ignore[no-untyped-def]
    """A number of 64 or 32 bits, the nearest one."""
    if data[p] == QUOTE:
        return _real_text(data, p, end, node, row, work)
    if not is_digit(data[p]) and data[p] != 0x2D:
        return -KIND
    return _real(data, p, end, node, row, work)


@inlined
def _real(data, p, end, node, row, work):  # type: ignore[no-untyped-def]
    start = p
    p, _ = number(data, p, end)
    if p < 0:
        return p
    good, found, power = _decimal_parts(data, start, p)
    slot, negative = node[SLOT] + row, data[start] == 0x2D
    # A number and a power of ten that are exact make one product or quotient that is rounded once.
    if good and node[OF] == SINGLE and found < np.uint64(1 << 24) and -10 <= power <= 10:
        small, ten = np.float32(found), _SINGLE_TENS[abs(power)]
        small = small / ten if power < 0 else small * ten
        work.singles[2 * slot] = -small if negative else small
    elif good and node[OF] != SINGLE and found < np.uint64(1 << 53) and -22 <= power <= 22 and _shown(found, node):
        large, large_ten = np.float64(found), _TENS[abs(power)]
        large = large / large_ten if power < 0 else large * large_ten
        work.reals[slot] = -large if negative else large
    else:
        return _note_float(start, p, node, row, work)
    return p


@inlined
def _shown(found, node):  # type: ignore[no-untyped-def]
    """Whether a double shows all digits of the number: it does for fifteen."""
    return node[A] == 0 or found < np.uint64(1_000_000_000_000_000)


@inlined
def _decimal_parts(data, p, stop):  # type: ignore[no-untyped-def]
    """Whether the number has few digits; these as a whole number, and the power of ten."""
    found, power, count, fraction = np.uint64(0), np.int64(0), 0, False
    while p < stop:
        byte = data[p]
        p += 1
        if is_digit(byte):
            found = found * _TEN + np.uint64(byte - 0x30)
            count += 1 if found != np.uint64(0) else 0
            power -= 1 if fraction else 0
        elif byte == 0x2E:
            fraction = True
        elif byte != 0x2D:
            break
    if p < stop:
        negative = data[p] == 0x2D
        exponent = np.int64(0)
        if data[p] in (0x2B, 0x2D):
            p += 1
        while p < stop and exponent < 10_000:
            exponent = exponent * 10 + np.int64(data[p] - 0x30)
            p += 1
        power += -exponent if negative else exponent
    return count <= 18, found, power


@compiled
def _note_float(start, p, node, row, work):  # type: ignore[no-untyped-def]
    """Leave a number to Arrow, which reads all of them at once."""
    count = work.counts[FLOATS]
    if count >= len(work.floats):
        work.counts[WANTED] = 0
        return -FULL
    work.floats[count, GOES] = node[SLOT] + row
    work.floats[count, TEXT_PLACE] = start
    work.floats[count, LENGTH] = p - start
    work.floats[count, SIZE] = 4 if node[OF] == SINGLE else 8
    work.floats[count, PAYLOAD] = work.counts[ROW]
    work.floats[count, EXACT] = work.counts[NODE] + 1 if node[A] else 0
    work.counts[FLOATS] = count + 1
    return p


@compiled
def _real_text(data, p, end, node, row, work):  # type: ignore[no-untyped-def]
    """NaN, Infinity and -Infinity, which converters write as texts; numbers where texts may hold them."""
    stop, _ = string(data, p + 1, end)
    if stop < 0:
        return stop
    if _is_no_number(data, p + 1, stop - p - 1):
        return stop + 1 if _note_float(p + 1, stop, node, row, work) >= 0 else -FULL
    if not node[FORMS] & AS_TEXT or not (is_digit(data[p + 1]) or data[p + 1] == 0x2D):
        return -KIND
    behind = _real(data, p + 1, stop, node, row, work)
    if behind == stop:
        return stop + 1
    return -FULL if behind == -FULL else -KIND


@compiled
def _is_no_number(data, p, size):  # type: ignore[no-untyped-def]
    if size == 3:
        return data[p] == 0x4E and data[p + 1] == 0x61 and data[p + 2] == 0x4E
    if size == 9 and data[p] == 0x2D:
        p, size = p + 1, 8
    if size != 8:
        return False
    letters, at = (0x49, 0x6E, 0x66, 0x69, 0x6E, 0x69, 0x74, 0x79), 0
    while at < 8 and data[p + at] == letters[at]:
        at += 1
    return at == 8
