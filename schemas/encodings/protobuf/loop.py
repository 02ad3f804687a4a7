"""The loop that walks payloads by tables and writes columns, compiled once by numba for all schemas.

Format: Protocol Buffers, "Encoding".
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...loops import array, compile_ahead, read_only
from ..columns.jit import compiled, inlined
from ..columns.text import is_utf8
from . import program as ops
from .payload_errors import (
    CELLS,
    CELLS_PER_BYTE,
    DEPTH,
    ENTRY,
    FREE_CELLS,
    MAX_DEPTH,
    MEMBERS,
    MISSING,
    PARTS,
    TRUNCATED,
    TWICE,
    UTF8,
)
from .program import (
    CHECK,
    CHILD,
    COUNTS,
    FINDER,
    FIRST,
    ITEM_CELLS,
    KIND,
    LEVEL,
    LIMIT,
    MUST,
    NOTED,
    NUMBER,
    ONCE,
    ONEOF,
    OP,
    PACKABLE,
    REPEATED,
    REQUIRED_FIELDS,
    SLOT,
    STOP,
    STRIDE,
    VALID,
    WIRE,
    Tables,
)
from .values import ALLOWED, AT, BEGUN, LAST, NOTE, USED, fits_together, length, number, skip, varint

# Columns of a frame, the message in which another one stands: its end, its row of `messages`, its row of the level,
# its number.
END, INSIDE, ROW, SELF = 0, 1, 2, 3


class State(NamedTuple):
    """What a run writes to.

    `values` and `valid` hold all slots. `rows[level]` counts the rows of a level so far, `before` as they were when the
    payload began. `frames` (depth, 4) is the stack of messages. A message that is begun gets a number: `seen[field]` is
    that of the last one that had the field, `member[oneof]` (2) that of the last one with a member, and the member.
    `groups` are the numbers of those that are being skipped, `parts` (by field number) the values of a message whose
    parts are checked together.
    """

    values: NDArray[np.int64]
    valid: NDArray[np.uint8]
    rows: NDArray[np.int64]
    before: NDArray[np.int64]
    frames: NDArray[np.int64]
    notes: NDArray[np.int64]
    seen: NDArray[np.int64]
    member: NDArray[np.int64]
    groups: NDArray[np.int64]
    parts: NDArray[np.int64]


def new_state(values: NDArray[np.int64], valid: NDArray[np.uint8], tables: Tables) -> State:
    """A state with empty counters."""
    return _state(values, valid, tables.levels, len(tables.writing), tables.oneofs)


def _state(values: NDArray[np.int64], valid: NDArray[np.uint8], levels: int, fields: int, oneofs: int) -> State:
    rows, before = np.zeros((2, levels), np.int64)
    frames, notes = np.zeros((MAX_DEPTH + 1, 4), np.int64), np.zeros(6, np.int64)
    groups, parts = np.zeros(MAX_DEPTH, np.int64), np.zeros(4, np.int64)
    seen, member = np.zeros(fields, np.int64), np.zeros((oneofs + 1, 2), np.int64)
    return State(values, valid, rows, before, frames, notes, seen, member, groups, parts)


@compile_ahead(
    (
        read_only(np.uint8),
        read_only(np.int64),
        read_only(np.int64),
        (array(np.int64, 2), array(np.int64, 2), array(np.int64)),
        _state(array(np.int64), array(np.uint8), 1, 1, 1),
        array(np.int32),
        array(np.int64, 2),
    ),
    slow=True,
)
@compiled
def walk(data, at, sizes, tables, state, errors, details):  # type: ignore[no-untyped-def]
    """Read each payload `data[at[i] : at[i] + sizes[i]]` whose error is 0; `tables` are fields, messages and finder.

    `errors[i]` becomes 0 or the number of a payload error, `details[i]` the value that was wrong and the row of its
    field, -1 where there is none. A payload that fails leaves the counts of rows as they were.
    """
    for row in range(len(at)):
        if errors[row] != 0:
            continue
        for level in range(len(state.rows)):
            state.before[level] = state.rows[level]
        state.notes[USED] = 0
        state.notes[ALLOWED] = FREE_CELLS + CELLS_PER_BYTE * sizes[row]
        state.notes[AT] = -1
        end = at[row] + sizes[row]
        if at[row] < 0 or sizes[row] < 0 or end > len(data):
            error = TRUNCATED
        else:
            error = _message(data, at[row], end, row, tables, state)
        if error != 0:
            errors[row] = error
            details[row, 0] = state.notes[NOTE]
            details[row, 1] = state.notes[AT]
            for level in range(len(state.rows)):
                state.rows[level] = state.before[level]


# Reads the message [p, last) of the first table, and those inside of it; 0 or the error. `inside` is the table of the
# message that is read, `row` its row of the level, `own` its number.
@inlined
def _message(data, p, last, row, tables, state):  # type: ignore[no-untyped-def]
    fields, messages, finder = tables
    depth, inside, end = 0, 0, last
    state.notes[BEGUN] += 1
    own = state.notes[BEGUN]
    while True:
        while p == end:
            if messages[inside, REQUIRED_FIELDS] > 0 and not _whole(fields, messages[inside], own, state):
                return MISSING
            if messages[inside, CHECK] != 0 and not fits_together(messages[inside, CHECK], state):
                return PARTS
            if depth == 0:
                return 0
            depth -= 1
            frame = state.frames[depth]
            end, inside, row, own = frame[END], frame[INSIDE], frame[ROW], frame[SELF]
        p, tag = varint(data, p, end)
        if p < 0:
            return -p
        wire = tag & 7
        at = _find(fields, messages[inside], finder, tag >> 3)
        if at < 0:
            if messages[inside, ops.ENTRY] != 0:
                return ENTRY
            p = skip(data, p, end, tag, state)
            if p < 0:
                return -p
            continue
        field = fields[at]
        kind = field[KIND]
        if wire != field[WIRE]:
            if kind == PACKABLE and wire == ops.SPAN_WIRE:
                p = _packed(data, p, end, row, field, at, state)
            elif messages[inside, ops.ENTRY] != 0:
                return ENTRY
            else:
                p = skip(data, p, end, tag, state)
            if p < 0:
                return -p
            continue
        state.notes[AT] = at
        if kind != 0 or field[ONEOF] >= 0:
            error = _noted(field, at, kind, own, state)
            if error != 0:
                return error
        item = row
        if kind >= REPEATED:
            item = _item(field, row, state)
            if item < 0:
                return CELLS
        elif field[VALID] >= 0:
            state.valid[field[VALID] + item] = 1
        if wire != ops.SPAN_WIRE:
            p = number(data, p, end, field, item, state)
            if p < 0:
                return -p
            if messages[inside, CHECK] != 0:
                state.parts[field[NUMBER]] = state.notes[LAST]
            continue
        begin = p
        p, size = length(data, p, end)
        if p < 0:
            return -p
        if field[OP] == ops.MESSAGE or field[OP] == ops.JSON:
            if field[OP] == ops.JSON and field[SLOT] >= 0:
                state.values[field[SLOT] + item] = begin
                state.values[field[SLOT] + field[STRIDE] + item] = p + size - begin
            if depth == MAX_DEPTH:
                return DEPTH
            frame = state.frames[depth]
            frame[END], frame[INSIDE], frame[ROW], frame[SELF] = end, inside, row, own
            depth, end, inside, row = depth + 1, p + size, field[CHILD], item
            state.notes[BEGUN] += 1
            own = state.notes[BEGUN]
            state.parts[:] = 0
            continue
        if messages[inside, CHECK] != 0:
            state.parts[field[NUMBER]] = size
        if field[OP] == ops.TEXT and not is_utf8(data, p, p + size):
            return UTF8
        if field[SLOT] >= 0:
            state.values[field[SLOT] + item] = p
            state.values[field[SLOT] + field[STRIDE] + item] = size
        p += size


@inlined
def _find(fields, message, finder, number):  # type: ignore[no-untyped-def]
    """The row of the field with this number, or -1."""
    if number >= 0 and number < message[LIMIT]:
        return finder[message[FINDER] + number]
    low, high = message[FIRST], message[STOP]
    while low < high:
        middle = (low + high) // 2
        if fields[middle, NUMBER] < number:
            low = middle + 1
        else:
            high = middle
    return low if low < message[STOP] and fields[low, NUMBER] == number else np.int64(-1)


@compiled
def _packed(data, p, end, row, field, at, state):  # type: ignore[no-untyped-def]
    """Read the numbers of a packed field; the position after them."""
    state.notes[AT] = at
    p, size = length(data, p, end)
    if p < 0:
        return p
    stop = p + size
    while p < stop:
        item = _item(field, row, state)
        if item < 0:
            return -CELLS
        p = number(data, p, stop, field, item, state)
        if p < 0:
            return p
    return p


@inlined
def _item(field, row, state):  # type: ignore[no-untyped-def]
    """The row of a repeated field's next item; -1 where there are too many."""
    state.notes[USED] += field[ITEM_CELLS]
    if state.notes[USED] > state.notes[ALLOWED]:
        state.notes[NOTE] = state.notes[USED] // max(field[ITEM_CELLS], 1)
        return np.int64(-1)
    if field[COUNTS] >= 0:
        state.values[field[COUNTS] + row] += 1
    if field[LEVEL] < 0:
        return np.int64(0)
    item = state.rows[field[LEVEL]]
    state.rows[field[LEVEL]] += 1
    return item


@compiled
def _noted(field, at, kind, own, state):  # type: ignore[no-untyped-def]
    """Note that message `own` has the field; 0, or the error where it may not."""
    if kind == ONCE and state.seen[at] == own:
        return TWICE
    if kind in (ONCE, NOTED):
        state.seen[at] = own
    if field[ONEOF] >= 0:
        member = state.member[field[ONEOF]]
        if member[0] == own and member[1] != at:
            return MEMBERS
        member[0], member[1] = own, at
    return 0


@compiled
def _whole(fields, message, own, state):  # type: ignore[no-untyped-def]
    """Whether message `own` had all required fields."""
    for at in range(message[FIRST], message[STOP]):
        if fields[at, MUST] != 0 and state.seen[at] != own:
            state.notes[AT] = at
            return False
    return True
