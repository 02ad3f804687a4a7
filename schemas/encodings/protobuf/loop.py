"""The loop that walks payloads by tables and writes columns, compiled once by numba for all schemas.

Format: Protocol Buffers, "Encoding".
"""

import numpy as np

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
)
from .state import END, INSIDE, ROW, SELF, empty_state
from .values import ALLOWED, AT, BEGUN, LAST, NOTE, USED, fits_together, length, number, skip, varint


@compile_ahead(
    (
        read_only(np.uint8),
        read_only(np.int64),
        read_only(np.int64),
        (array(np.int64, 2), array(np.int64, 2), array(np.int64)),
        empty_state(array(np.int64), array(np.uint8), 1, 1, 1),
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
    depth, inside, end, own = 0, 0, last, _begun(state)
    while True:
        while p == end:
            error = _ended(fields, messages[inside], own, state)
            if error != 0 or depth == 0:
                return error
            depth -= 1
            frame = state.frames[depth]
            end, inside, row, own = frame[END], frame[INSIDE], frame[ROW], frame[SELF]
        p, tag = varint(data, p, end)
        if p < 0:
            return -p
        at = _find(fields, messages[inside], finder, tag >> 3)
        if at < 0 or fields[at, WIRE] != tag & 7:
            p = _other(data, p, end, row, tag, (fields, messages[inside], at), state)
            if p < 0:
                return -p
            continue
        field = fields[at]
        item = _place(field, at, row, own, state)
        if item < 0:
            return -item
        begin = p
        if field[OP] < ops.MESSAGE:
            p = _value(data, p, end, field, item, state)
            if messages[inside, CHECK] != 0:
                state.parts[field[NUMBER]] = state.notes[LAST]
        else:
            p, size = length(data, p, end, state)
        if p < 0:
            return -p
        if field[OP] < ops.MESSAGE:
            continue
        if depth == MAX_DEPTH:
            return DEPTH
        # Of a message that becomes JSON; other messages have no slot.
        _keep(begin, p + size - begin, field, item, state)
        depth = _enter(state, depth, end, inside, row, own)
        end, inside, row, own = p + size, field[CHILD], item, _begun(state)


@inlined
def _enter(state, depth, end, inside, row, own):  # type: ignore[no-untyped-def]
    """Put the message that is read on the stack; its new depth."""
    frame = state.frames[depth]
    frame[END], frame[INSIDE], frame[ROW], frame[SELF] = end, inside, row, own
    return depth + 1


@inlined
def _begun(state):  # type: ignore[no-untyped-def]
    """The number of a message that begins."""
    state.notes[BEGUN] += 1
    state.parts[:] = 0
    return state.notes[BEGUN]


@inlined
def _ended(fields, message, own, state):  # type: ignore[no-untyped-def]
    """0, or what is wrong with message `own` as a whole."""
    if message[REQUIRED_FIELDS] > 0 and not _whole(fields, message, own, state):
        return MISSING
    if message[CHECK] != 0 and not fits_together(message[CHECK], state):
        return PARTS
    return 0


@compiled
def _other(data, p, end, row, tag, found, state):  # type: ignore[no-untyped-def]
    """The position after what is no single value of a known field; `found` are the tables and the field's row."""
    fields, message, at = found
    if at >= 0 and fields[at, KIND] == PACKABLE and tag & 7 == ops.SPAN_WIRE:
        return _packed(data, p, end, row, fields[at], at, state)
    return -ENTRY if message[ops.ENTRY] != 0 else skip(data, p, end, tag, state)


@inlined
def _place(field, at, row, own, state):  # type: ignore[no-untyped-def]
    """The row of the level to which a field's value goes, its validity set; or an error's number, negated."""
    state.notes[AT] = at
    kind = field[KIND]
    if kind != 0 or field[ONEOF] >= 0:
        error = _noted(field, at, kind, own, state)
        if error != 0:
            return np.int64(-error)
    if kind >= REPEATED:
        return _item(field, row, state)
    if field[VALID] >= 0:
        state.valid[field[VALID] + row] = 1
    return row


@inlined
def _value(data, p, end, field, item, state):  # type: ignore[no-untyped-def]
    """Read a number, or keep where a text or bytes stand; the position after them."""
    if field[OP] < ops.TEXT:
        return number(data, p, end, field, item, state)
    p, size = length(data, p, end, state)
    if p < 0:
        return p
    if field[OP] == ops.TEXT and not is_utf8(data, p, p + size):
        return -UTF8
    _keep(p, size, field, item, state)
    return p + size


@inlined
def _keep(p, size, field, item, state):  # type: ignore[no-untyped-def]
    if field[SLOT] >= 0:
        state.values[field[SLOT] + item] = p
        state.values[field[SLOT] + field[STRIDE] + item] = size


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
    p, size = length(data, p, end, state)
    if p < 0:
        return p
    stop = p + size
    while p < stop:
        item = _item(field, row, state)
        if item < 0:
            return item
        p = number(data, p, stop, field, item, state)
        if p < 0:
            return p
    return p


@inlined
def _item(field, row, state):  # type: ignore[no-untyped-def]
    """The row of a repeated field's next item; where there are too many, the error's number, negated."""
    state.notes[USED] += field[ITEM_CELLS]
    if state.notes[USED] > state.notes[ALLOWED]:
        state.notes[NOTE] = state.notes[USED] // max(field[ITEM_CELLS], 1)
        return np.int64(-CELLS)
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
