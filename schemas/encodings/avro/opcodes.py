"""Reading one value: the interpreter's handlers, one for each kind of operation.

A handler reads `data` (uint8) from position `p`, never at or beyond `end`. It returns the position after what it read,
or the number of a payload error, negated. `at` is the row of the program, `row` the row of the level: the value goes to
`state.values[SLOT + row]` where the program's row has a slot. Format: Avro 1.12 specification, "Binary Encoding".
"""

import numpy as np

from ..columns.decimals import fits_precision
from ..columns.jit import compiled, inlined
from ..columns.layout import BOOLEAN, DECIMAL, FIXED, STRING, ZONED
from ..columns.text import NO_TIME, PLACEHOLDER_TIME, TEXT_AT, instant, is_utf8
from .bytecode import JUMP, OP, SLOT, STRIDE, VALID, A, B
from .payload_errors import BRANCH, NEGATIVE, RANGE, TOO_LONG, TRUNCATED, UTF8, VARINT

NOTE = 0
"""Column of `State.notes`: the value that was wrong, for the error message."""


@inlined
def varint(data, p, end):  # type: ignore[no-untyped-def]
    """The position after a zigzag varint of at most 64 bits, and its value."""
    if p < end and data[p] < 128:
        return p + 1, np.int64(data[p] >> 1) ^ -np.int64(data[p] & 1)
    bits = np.uint64(0)
    shift = np.uint64(0)
    while p < end:
        byte = np.uint64(data[p])
        p += 1
        bits |= (byte & np.uint64(127)) << shift
        if byte < np.uint64(128):
            if shift == np.uint64(63) and byte > np.uint64(1):
                return -VARINT, 0
            return p, np.int64(bits >> np.uint64(1)) ^ -np.int64(bits & np.uint64(1))
        shift += np.uint64(7)
        if shift > np.uint64(63):
            return -VARINT, 0
    return -TRUNCATED, 0


@inlined
def nullable(data, p, end, at, program, row, state):  # type: ignore[no-untyped-def]
    p, branch = varint(data, p, end)
    if p < 0:
        return p, at
    if branch == program[at, A]:
        return p, program[at, JUMP]
    if branch != 1 - program[at, A]:
        state.notes[NOTE] = branch
        return -BRANCH, at
    if program[at, VALID] >= 0:
        state.valid[program[at, VALID] + row] = 1
    return p, at + 1


@compiled
def union(data, p, end, at, program, state):  # type: ignore[no-untyped-def]
    p, branch = varint(data, p, end)
    if p < 0:
        return p, at
    if branch < 0 or branch >= program[at, A]:
        state.notes[NOTE] = branch
        return -BRANCH, at
    return p, at + 1 + branch


@inlined
def integer(data, p, end, at, program, row, state):  # type: ignore[no-untyped-def]
    p, value = varint(data, p, end)
    if p < 0:
        return p
    if value < program[at, A] or value > program[at, B]:
        state.notes[NOTE] = value
        return -RANGE
    if program[at, SLOT] >= 0:
        state.values[program[at, SLOT] + row] = value
    return p


@inlined
def _length(data, p, end, state):  # type: ignore[no-untyped-def]
    """The position after a length, and the length: so many bytes are left in the payload."""
    p, length = varint(data, p, end)
    if p < 0:
        return p, 0
    state.notes[NOTE] = length
    if length < 0:
        return -NEGATIVE, 0
    if length > end - p:
        return -TRUNCATED, 0
    return p, length


@inlined
def span(data, p, end, at, program, row, state):  # type: ignore[no-untyped-def]
    p, length = _length(data, p, end, state)
    if p < 0:
        return p
    if program[at, OP] == STRING:
        if not is_utf8(data, p, p + length):
            return -UTF8
    elif length > program[at, A]:
        return -TOO_LONG
    if program[at, SLOT] >= 0:
        slot = program[at, SLOT] + row
        state.values[slot] = p
        state.values[slot + program[at, STRIDE]] = length
    return p + length


@compiled
def scalar(data, p, end, at, program, row, state):  # type: ignore[no-untyped-def]
    """The rarer types of one value."""
    op = program[at, OP]
    if op == DECIMAL:
        return _decimal(data, p, end, at, program, row, state)
    if op == ZONED:
        return _zoned(data, p, end, at, program, row, state)
    size = program[at, A]
    if end - p < size:
        return -TRUNCATED
    slot = program[at, SLOT] + row
    bits = np.uint64(0)
    if op != FIXED:
        for i in range(size):
            bits |= np.uint64(data[p + i]) << np.uint64(8 * i)
        if op == BOOLEAN and bits > np.uint64(1):
            state.notes[NOTE] = np.int64(bits)
            return -RANGE
    if program[at, SLOT] >= 0:
        state.values[slot] = p if op == FIXED else np.int64(bits)
        if op == FIXED:
            state.values[slot + program[at, STRIDE]] = size
    return p + size


@compiled
def _decimal(data, p, end, at, program, row, state):  # type: ignore[no-untyped-def]
    length, start = program[at, A], p
    if length < 0:
        p, length = _length(data, p, end, state)
        if p < 0:
            return p
    elif end - p < length:
        return -TRUNCATED
    fits = fits_precision(data, p, length, program[at, B], state.words)
    if program[at, SLOT] >= 0:
        slot, words = program[at, SLOT] + row, 2 if program[at, B] <= 38 else 4
        for i in range(words):
            state.values[slot + i * program[at, STRIDE]] = np.int64(state.words[i])
        if not fits:
            state.values[slot + (words - 1) * program[at, STRIDE]] = TEXT_AT + start
    return p + length


@compiled
def _zoned(data, p, end, at, program, row, state):  # type: ignore[no-untyped-def]
    start = p
    p, length = _length(data, p, end, state)
    if p < 0:
        return p
    if not is_utf8(data, p, p + length):
        return -UTF8
    if program[at, SLOT] >= 0:
        micros = instant(data, p, p + length)
        state.values[program[at, SLOT] + row] = TEXT_AT + start if micros == NO_TIME else micros
        state.valid[program[at, VALID] + row] = 0 if micros in (NO_TIME, PLACEHOLDER_TIME) else 1
    return p + length
