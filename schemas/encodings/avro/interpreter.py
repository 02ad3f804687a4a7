"""The interpreter: one compiled loop that walks payloads by a program and writes columns.

A value that its type has not is no error here: its slot says where its bytes are (`columns.text.TEXT_AT`). Compiled
once by numba for all schemas. Format: Avro 1.12 specification, "Binary Encoding".
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...loops import array, compile_ahead, read_only
from ..columns.jit import compiled, inlined
from ..columns.layout import BYTES, INTEGER, STRING
from . import bytecode as ops
from .bytecode import JUMP, LEVEL, OP, SLOT, STRIDE, VALID, A, B
from .opcodes import NOTE, integer, nullable, scalar, span, union, varint
from .payload_errors import (
    BLOCK_SIZE,
    CELLS,
    CELLS_PER_BYTE,
    CODE_BITS,
    DEPTH,
    FREE_CELLS,
    ITEMS,
    LEFT_OVER,
    MAX_CALLS,
    MAX_EMPTY_ITEMS,
    NEGATIVE,
    TRUNCATED,
    VARINT,
)

# Columns of `State.notes`, after opcodes' NOTE: items without bytes, cells taken and cells allowed in this payload.
EMPTY, USED, ALLOWED = 1, 2, 3
# Columns of a frame: items left in the block, items so far, where the block must end (-1: not said), the outer row.
# A call uses REMAINING for the row of the program to return to.
REMAINING, TOTAL, BLOCK_END, ROW = 0, 1, 2, 3


class State(NamedTuple):
    """What a run writes to.

    `values` and `valid` hold all slots, as `bytecode` describes them. `rows[level]` counts the rows of a level so far,
    `before` as they were when the payload began. `frames` (depth, 4) is the stack of loops and calls, `notes` has the
    detail of an error and the payload's limits, `words` the 256 bits of a decimal.
    """

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


@compile_ahead(
    (
        read_only(np.uint8),
        read_only(np.int64),
        read_only(np.int64),
        array(np.int64, 2),
        new_state(array(np.int64), array(np.uint8), 1),
        array(np.int32),
        array(np.int64),
    ),
    slow=True,
)
@compiled
def walk(data, at, length, program, state, errors, details):  # type: ignore[no-untyped-def]
    """Run `program` over each payload `data[at[i] : at[i] + length[i]]` whose error is 0.

    `errors[i]` becomes 0, or (row of the program << CODE_BITS) + the number of a payload error, and `details[i]` the
    value that was wrong. A payload that fails leaves the counts of rows as they were.
    """
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


# Runs the program over the payload [p, end); returns 0 or the error. `pc` is the next row of the program, `at` the
# current one, `row` the row of the level that is written to. A negative `p` is an error's number, negated. The frequent
# operations are tested first.
@inlined
def _datum(data, p, end, row, program, state):  # type: ignore[no-untyped-def]
    pc, depth, calls = 0, 0, 0
    while True:
        op = program[pc, OP]
        at = pc
        pc += 1
        if op == ops.NULLABLE:
            p, pc = nullable(data, p, end, at, program, row, state)
        elif op == INTEGER:
            p = integer(data, p, end, at, program, row, state)
        elif op in (STRING, BYTES):
            p = span(data, p, end, at, program, row, state)
        elif op < ops.UNION:
            p = scalar(data, p, end, at, program, row, state)
        elif op == ops.GOTO:
            pc = program[at, JUMP]
        elif op == ops.MARK:
            if program[at, VALID] >= 0:
                state.valid[program[at, VALID] + row] = 1
        elif op == ops.UNION:
            p, pc = union(data, p, end, at, program, state)
        elif op == ops.REPEAT:
            depth = _begin(state, depth, row)
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
        else:
            _bound(p, at, program, row, state)
        if p < 0:
            return (at << CODE_BITS) - p


@compiled
def _begin(state, depth, row):  # type: ignore[no-untyped-def]
    """Put a loop on the stack; its new depth."""
    state.frames[depth, REMAINING] = 0
    state.frames[depth, TOTAL] = 0
    state.frames[depth, BLOCK_END] = -1
    state.frames[depth, ROW] = row
    return depth + 1


@compiled
def _bound(p, at, program, row, state):  # type: ignore[no-untyped-def]
    """Keep where a span begins (OPEN), or how long it is (CLOSE)."""
    if program[at, SLOT] >= 0:
        slot = program[at, SLOT] + row
        if program[at, OP] == ops.OPEN:
            state.values[slot] = p
        else:
            state.values[slot + program[at, STRIDE]] = p - state.values[slot]


@compiled
def _next(data, p, end, at, program, depth, state):  # type: ignore[no-untyped-def]
    """Step to the next item, or past the last: its position, row of the program, row of the level, stack depth."""
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
        # Items without bytes are counted at once: there is nothing to run the program over.
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
    """The position after a block's head, and how many items it has, all of which can be there."""
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
