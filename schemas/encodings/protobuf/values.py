"""Reading one value: numbers, lengths, what nobody knows, and the parts of a value that belong together.

A reader takes `data` (uint8) from position `p`, never at or beyond `end`. It returns the position after what it read,
or the number of a payload error, negated. Format: Protocol Buffers, "Encoding".
"""

import numpy as np

from ..columns.decimals import MAX_BYTES, MAX_SCALE
from ..columns.jit import compiled, inlined
from . import program as ops
from .payload_errors import DEPTH, GROUP, MAX_DEPTH, TAG, TRUNCATED, VARINT, WIRE_TYPE
from .program import OP, SLOT

# Columns of `State.notes`: the detail of an error, its field, cells taken and allowed in this payload, the number of
# the message that was begun last, and the number or length that was read last.
NOTE, AT, USED, ALLOWED, BEGUN, LAST = 0, 1, 2, 3, 4, 5

FIRST_SECOND, LAST_SECOND, MOST_NANOS = -62_135_596_800, 253_402_300_799, 999_999_999
MOST_SECONDS = 315_576_000_000
"""Of a span of time: ten thousand years."""


@inlined
def varint(data, p, end):  # type: ignore[no-untyped-def]
    """The position after a varint of at most 64 bits, and its bits."""
    if p < end and data[p] < 128:
        return p + 1, np.int64(data[p])
    bits = np.uint64(0)
    shift = np.uint64(0)
    while p < end:
        byte = np.uint64(data[p])
        p += 1
        bits |= (byte & np.uint64(127)) << shift
        if byte < np.uint64(128):
            if shift == np.uint64(63) and byte > np.uint64(1):
                return -VARINT, np.int64(0)
            return p, np.int64(bits)
        shift += np.uint64(7)
        if shift > np.uint64(63):
            return -VARINT, np.int64(0)
    return -TRUNCATED, np.int64(0)


@inlined
def length(data, p, end, state):  # type: ignore[no-untyped-def]
    """The position after a length, and the length: so many bytes are left."""
    p, size = varint(data, p, end)
    if p >= 0 and (size < 0 or size > end - p):
        return -TRUNCATED, np.int64(0)
    state.notes[LAST] = size
    return p, size


@inlined
def number(data, p, end, field, item, state):  # type: ignore[no-untyped-def]
    """Read one number; the position after it."""
    op = field[OP]
    if op < ops.FOUR:
        p, value = varint(data, p, end)
        if p < 0:
            return p
        if op == ops.UNSIGNED:
            value = value & 0xFFFFFFFF
        elif op == ops.SIGNED:
            value = np.int64(np.int32(value & 0xFFFFFFFF))
        elif op == ops.TRUTH:
            value = np.int64(value != 0)
        elif op >= ops.ZIGZAG and op <= ops.ZIGZAG_32:
            bits = np.uint64(value)
            if op == ops.ZIGZAG_32:
                bits = bits & np.uint64(0xFFFFFFFF)
            value = np.int64(bits >> np.uint64(1)) ^ -np.int64(bits & np.uint64(1))
    else:
        size = 4 if op == ops.FOUR else 8
        if end - p < size:
            return -TRUNCATED
        bits = np.uint64(0)
        for i in range(size):
            bits |= np.uint64(data[p + i]) << np.uint64(8 * i)
        value = np.int64(bits)
        p += size
    state.notes[LAST] = value
    if field[SLOT] >= 0:
        state.values[field[SLOT] + item] = value
    return p


@compiled
def fits_together(check, state):  # type: ignore[no-untyped-def]
    """Whether the parts of a message are an instant, a span of time, or a decimal that can be written out."""
    first, second, third = state.parts[1], state.parts[2], state.parts[3]
    if check == ops.NUMBER_TEXT:
        scale = np.int64(np.int32(third & 0xFFFFFFFF))
        return first <= MAX_BYTES and scale >= -MAX_SCALE and scale <= MAX_SCALE
    second = np.int64(np.int32(second & 0xFFFFFFFF))
    if check == ops.INSTANT:
        return first >= FIRST_SECOND and first <= LAST_SECOND and second >= 0 and second <= MOST_NANOS
    if first < -MOST_SECONDS or first > MOST_SECONDS or second < -MOST_NANOS or second > MOST_NANOS:
        return False
    return not (first < 0 and second > 0) and not (first > 0 and second < 0)


@compiled
def skip(data, p, end, tag, state):  # type: ignore[no-untyped-def]
    """The position after a value that nobody knows, groups with all that is in them."""
    depth = 0
    while True:
        field, wire = tag >> 3, tag & 7
        if field < 1 or field > 536_870_911:
            state.notes[NOTE] = field
            return -TAG
        if wire == ops.VARINT_WIRE:
            p, _ = varint(data, p, end)
        elif wire == ops.SPAN_WIRE:
            p, size = length(data, p, end, state)
            if p >= 0:
                p += size
        elif wire == ops.FOUR_WIRE or wire == ops.EIGHT_WIRE:
            p = p + (4 if wire == ops.FOUR_WIRE else 8)
            if p > end:
                return -TRUNCATED
        elif wire == 3:
            if depth == MAX_DEPTH:
                return -DEPTH
            state.groups[depth] = field
            depth += 1
        elif wire == 4:
            if depth == 0 or state.groups[depth - 1] != field:
                return -GROUP
            depth -= 1
        else:
            state.notes[NOTE] = wire
            return -WIRE_TYPE
        if p < 0 or depth == 0:
            return p
        p, tag = varint(data, p, end)
        if p < 0:
            return p
