"""The interpreter: one compiled loop that walks payloads by a program and writes columns.

Compiled once by numba for all schemas. A handler returns the position behind what it read, or an error's number,
negated. Format: Avro 1.12 specification, "Binary Encoding".
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import program as ops
from .decimals import fits_precision
from .jit import compiled, inlined
from .program import JUMP, LEVEL, OP, SLOT, STRIDE, VALID, A, B
from .text import NO_TIME, PLACEHOLDER_TIME, instant, is_utf8

TRUNCATED: Final = 1
VARINT: Final = 2
RANGE: Final = 3
NEGATIVE: Final = 4
UTF8: Final = 5
BRANCH: Final = 6
PRECISION: Final = 7
INSTANT: Final = 8
LEFT_OVER: Final = 9
ITEMS: Final = 10
CELLS: Final = 11
BLOCK_SIZE: Final = 12
DEPTH: Final = 13
TOO_LONG: Final = 14
CODE_BITS: Final = 4

MAX_EMPTY_ITEMS: Final = 1_000
"""Items without bytes (`array<null>`) that a datum may hold: they cost the sender nothing."""
FREE_CELLS: Final = 16_384
CELLS_PER_BYTE: Final = 64
"""Cells that the items of a datum may take are FREE_CELLS and these for each byte."""
MAX_CALLS: Final = 64
"""How deep records that contain themselves may be nested."""

NOTE, EMPTY, USED, ALLOWED = 0, 1, 2, 3
REMAINING, TOTAL, BLOCK_END, ROW = 0, 1, 2, 3


class State(NamedTuple):
    """What a walk writes to. `rows[level]` counts the rows of a level; `frames` is the stack of loops and calls."""

    values: NDArray[np.int64]
    valid: NDArray[np.uint8]
    rows: NDArray[np.int64]
    before: NDArray[np.int64]
    frames: NDArray[np.int64]
    notes: NDArray[np.int64]
    words: NDArray[np.uint64]


def new_state(values: NDArray[np.int64], valid: NDArray[np.uint8], levels: int) -> State:
    """A state with empty counters."""
    frames = np.empty(((MAX_CALLS + 2) * 66, 4), np.int64)
    rows, before = np.zeros((2, levels), np.int64)
    return State(values, valid, rows, before, frames, np.zeros(4, np.int64), np.zeros(4, np.uint64))


@compiled
def walk(data, at, length, program, state, errors, details):  # type: ignore[no-untyped-def]
    """Run `program` over each payload whose error is 0; a payload that fails leaves the counts as they were."""
    for row in range(len(at)):
        if errors[row] != 0:
            continue
        for level in range(len(state.rows)):
            state.before[level] = state.rows[level]
        state.notes[EMPTY] = 0
        state.notes[USED] = 0
        state.notes[ALLOWED] = FREE_CELLS + CELLS_PER_BYTE * length[row]
        end = at[row] + length[row]
        if at[row] < 0 or length[row] < 0 or end > len(data):
            error = TRUNCATED
        else:
            error = _datum(data, at[row], end, row, program, state)
        if error != 0:
            errors[row] = error
            details[row] = state.notes[NOTE]
            for level in range(len(state.rows)):
                state.rows[level] = state.before[level]


@inlined
def _datum(data, p, end, row, program, state):  # type: ignore[no-untyped-def]
    pc, depth, calls = 0, 0, 0
    while True:
        op = program[pc, OP]
        at = pc
        pc += 1
        if op == ops.NULLABLE:
            p, pc = _nullable(data, p, end, at, program, row, state)
        elif op == ops.INTEGER:
            p = _integer(data, p, end, at, program, row, state)
        elif op in (ops.STRING, ops.BYTES):
            p = _span(data, p, end, at, program, row, state)
        elif op < ops.UNION:
            p = _scalar(data, p, end, at, program, row, state)
        elif op == ops.GOTO:
            pc = program[at, JUMP]
        elif op == ops.MARK:
            if program[at, VALID] >= 0:
                state.valid[program[at, VALID] + row] = 1
        elif op == ops.UNION:
            p, pc = _union(data, p, end, at, program, state)
        elif op == ops.REPEAT:
            state.frames[depth, REMAINING] = 0
            state.frames[depth, TOTAL] = 0
            state.frames[depth, BLOCK_END] = -1
            state.frames[depth, ROW] = row
            depth += 1
        elif op == ops.NEXT:
            p, pc, row, depth = _next(data, p, end, at, program, depth, state)
        elif op == ops.CALL:
            if calls == MAX_CALLS:
                p = -DEPTH
            else:
                state.frames[depth, REMAINING] = pc
                depth, calls, pc = depth + 1, calls + 1, program[at, JUMP]
        elif op == ops.RETURN:
            depth, calls = depth - 1, calls - 1
            pc = state.frames[depth, REMAINING]
        elif op == ops.END:
            if p == end:
                return 0
            state.notes[NOTE] = end - p
            p = -LEFT_OVER
        elif program[at, SLOT] >= 0:
            slot = program[at, SLOT] + row
            if op == ops.OPEN:
                state.values[slot] = p
            else:
                state.values[slot + program[at, STRIDE]] = p - state.values[slot]
        if p < 0:
            return (at << CODE_BITS) - p


@inlined
def varint(data, p, end):  # type: ignore[no-untyped-def]
    """The position behind a zigzag number of at most 64 bits, and the number."""
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
def _nullable(data, p, end, at, program, row, state):  # type: ignore[no-untyped-def]
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
def _union(data, p, end, at, program, state):  # type: ignore[no-untyped-def]
    p, branch = varint(data, p, end)
    if p < 0:
        return p, at
    if branch < 0 or branch >= program[at, A]:
        state.notes[NOTE] = branch
        return -BRANCH, at
    return p, at + 1 + branch


@inlined
def _integer(data, p, end, at, program, row, state):  # type: ignore[no-untyped-def]
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
    """The position behind a length, and the length, which lies in the payload."""
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
def _span(data, p, end, at, program, row, state):  # type: ignore[no-untyped-def]
    p, length = _length(data, p, end, state)
    if p < 0:
        return p
    if program[at, OP] == ops.STRING:
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
def _scalar(data, p, end, at, program, row, state):  # type: ignore[no-untyped-def]
    """The rarer types of one value."""
    op = program[at, OP]
    if op == ops.DECIMAL:
        return _decimal(data, p, end, at, program, row, state)
    if op == ops.ZONED:
        return _zoned(data, p, end, at, program, row, state)
    size = program[at, A]
    if end - p < size:
        return -TRUNCATED
    slot = program[at, SLOT] + row
    bits = np.uint64(0)
    if op != ops.FIXED:
        for i in range(size):
            bits |= np.uint64(data[p + i]) << np.uint64(8 * i)
        if op == ops.BOOLEAN and bits > np.uint64(1):
            state.notes[NOTE] = np.int64(bits)
            return -RANGE
    if program[at, SLOT] >= 0:
        state.values[slot] = p if op == ops.FIXED else np.int64(bits)
        if op == ops.FIXED:
            state.values[slot + program[at, STRIDE]] = size
    return p + size


@compiled
def _decimal(data, p, end, at, program, row, state):  # type: ignore[no-untyped-def]
    length = program[at, A]
    if length < 0:
        p, length = _length(data, p, end, state)
        if p < 0:
            return p
    elif end - p < length:
        return -TRUNCATED
    if not fits_precision(data, p, length, program[at, B], state.words):
        return -PRECISION
    if program[at, SLOT] >= 0:
        slot = program[at, SLOT] + row
        for i in range(2 if program[at, B] <= 38 else 4):
            state.values[slot + i * program[at, STRIDE]] = np.int64(state.words[i])
    return p + length


@compiled
def _zoned(data, p, end, at, program, row, state):  # type: ignore[no-untyped-def]
    p, length = _length(data, p, end, state)
    if p < 0:
        return p
    if not is_utf8(data, p, p + length):
        return -UTF8
    micros = instant(data, p, p + length)
    if micros == NO_TIME:
        return -INSTANT
    if program[at, SLOT] >= 0:
        state.values[program[at, SLOT] + row] = micros
        state.valid[program[at, VALID] + row] = 0 if micros == PLACEHOLDER_TIME else 1
    return p + length


@compiled
def _next(data, p, end, at, program, depth, state):  # type: ignore[no-untyped-def]
    """Step to an item, or behind the last: position, row of the program, row of the level, depth of the stack."""
    frame = state.frames[depth - 1]
    level = program[at, LEVEL]
    while frame[REMAINING] == 0:
        if frame[BLOCK_END] >= 0 and frame[BLOCK_END] != p:
            return -BLOCK_SIZE, at, 0, depth
        p, count = _block(data, p, end, at, program, frame, state)
        if p < 0:
            return p, at, 0, depth
        if count == 0:
            if program[at, SLOT] >= 0:
                state.values[program[at, SLOT] + frame[ROW]] = frame[TOTAL]
            return p, program[at, JUMP], frame[ROW], depth - 1
        frame[TOTAL] += count
        if program[at, A] == 0:
            frame[REMAINING] = count
        elif level >= 0:
            state.rows[level] += count
    frame[REMAINING] -= 1
    row = 0
    if level >= 0:
        row = state.rows[level]
        state.rows[level] += 1
    return p, at + 1, row, depth


@compiled
def _block(data, p, end, at, program, frame, state):  # type: ignore[no-untyped-def]
    """The position behind a block's head, and how many items it has, all of which can be there."""
    p, count = varint(data, p, end)
    frame[BLOCK_END] = -1
    if p < 0:
        return p, 0
    if count < 0:
        if count == -(1 << 63):
            return -VARINT, 0
        count = -count
        p, size = varint(data, p, end)
        state.notes[NOTE] = size
        if p < 0:
            return p, 0
        if size < 0:
            return -NEGATIVE, 0
        if size > end - p:
            return -BLOCK_SIZE, 0
        frame[BLOCK_END] = p + size
    state.notes[NOTE] = count
    if program[at, A] == 0:
        if count > end - p:
            return -TRUNCATED, 0
    elif count > MAX_EMPTY_ITEMS - state.notes[EMPTY]:
        return -ITEMS, 0
    else:
        state.notes[EMPTY] += count
    state.notes[USED] += count * program[at, B]
    if state.notes[USED] > state.notes[ALLOWED]:
        return -CELLS, 0
    return p, count
