"""Tokens of JSON to the Avro datum of the same schema: one compiled loop, told what to expect by a plan.

Numbers with a fraction are not written here: the loop notes where they stand, and Arrow reads them all at once.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...loops import array, compile_ahead, read_only
from ..columns.jit import compiled, inlined
from .connect_schema import LIST, MAP, PAIR, RECORD
from .errors import CELLS, CELLS_PER_BYTE, CODE_BITS, FULL, KIND, LEFT_OVER, MAX_DEPTH, MISSING
from .scalars import DONE, FILLED, FLOATS, NODE, ROOM, utf8_byte, varint, write_scalar, write_text
from .tokens import (
    ARRAY,
    BACKSLASH,
    NEXT,
    NULL,
    OBJECT,
    SIZE,
    START,
    STOP,
    STRING,
    TOKEN,
    blank,
    escape,
    tokenize,
)


class Work(NamedTuple):
    """What a run writes to. `out` has the data one after the other, `held` by field the token of its value,
    `frames` what is open."""

    tape: NDArray[np.int64]
    stack: NDArray[np.int64]
    frames: NDArray[np.int64]
    held: NDArray[np.int64]
    out: NDArray[np.uint8]
    floats: NDArray[np.int64]
    counts: NDArray[np.int64]


def new_work(tokens: int, fields: int, size: int) -> Work:
    """Room for so many tokens of one payload, fields of the plan, and bytes of output."""
    tape, floats = np.zeros((tokens, 5), np.int64), np.zeros((size // 4 + 1, 4), np.int64)
    held, stack = np.zeros(fields + 1, np.int64), np.zeros(MAX_DEPTH, np.int64)
    return Work(
        tape,
        stack,
        np.zeros((4 * MAX_DEPTH, 4), np.int64),
        held,
        np.zeros(size, np.uint8),
        floats,
        np.zeros(4, np.int64),
    )


class Rows(NamedTuple):
    """By payload: where it is in the data, where its datum is in `out`, and its error with the node (0: none)."""

    at: NDArray[np.int64]
    length: NDArray[np.int64]
    to: NDArray[np.int64]
    size: NDArray[np.int64]
    errors: NDArray[np.int64]


class Schema(NamedTuple):
    """The arrays of a `Plan`."""

    nodes: NDArray[np.int64]
    fields: NDArray[np.int64]
    names: NDArray[np.uint8]


@compile_ahead(
    (
        read_only(np.uint8),
        Rows(read_only(np.int64), read_only(np.int64), *(array(np.int64) for _ in range(3))),
        Schema(array(np.int64, 2), array(np.int64, 2), array(np.uint8)),
        new_work(1, 1, 1),
    ),
    slow=True,
)
@compiled
def transcode(data, rows, schema, work):  # type: ignore[no-untyped-def]
    """Write the datum of each payload from `counts[DONE]` on; False where `out` is full, and is to be made larger."""
    for row in range(work.counts[DONE], len(rows.at)):
        start, end = rows.at[row], rows.at[row] + rows.length[row]
        first, floats = work.counts[FILLED], work.counts[FLOATS]
        p, _ = tokenize(data, start, end, work.tape, work.stack)
        work.counts[NODE] = 0
        if p >= 0 and blank(data, p, end) != end:
            p = -LEFT_OVER
        if p >= 0:
            p = _datum(data, schema, work, first)
        if p == -FULL and len(work.out) - first <= CELLS_PER_BYTE * rows.length[row]:
            work.counts[FLOATS] = floats
            return False
        if p == -FULL:
            p = -CELLS
        rows.to[row] = first
        if p < 0:
            rows.errors[row] = (work.counts[NODE] << CODE_BITS) - p
            rows.size[row] = 0
            work.counts[FLOATS] = floats
        else:
            rows.size[row] = p - first
            work.counts[FILLED] = p
        work.counts[DONE] = row + 1
    return True


# Columns of a frame: the kind of what is open, its node, and what comes next up to where: rows of `fields` of a record,
# rows of the tape of a list or map; of a pair the tokens of its value and its key, -1 once written.
OPEN, NODE_OF, ITEM, LAST = 0, 1, 2, 3


@compiled
def _datum(data, schema, work, o):  # type: ignore[no-untyped-def]
    """Write the payload, whose tokens are on the tape, at `o`; the place behind it, or minus an error.

    A stack of what is open instead of recursion, whose compiled form numba cannot load from its files.
    """
    depth, token, node = 0, 0, 0
    while True:
        o, depth = _value(data, token, node, schema, work, o, depth)
        while o >= 0 and depth:
            frame = work.frames[depth - 1]
            if frame[OPEN] == PAIR and frame[LAST] >= 0:
                token, node, frame[LAST] = frame[LAST], schema.nodes[frame[NODE_OF], 2], -1
                break
            if frame[OPEN] == PAIR and frame[ITEM] >= 0:
                token, node, frame[ITEM] = frame[ITEM], schema.nodes[frame[NODE_OF], 3], -1
                break
            if frame[OPEN] == RECORD and frame[ITEM] < frame[LAST]:
                token, node = work.held[frame[ITEM]], schema.fields[frame[ITEM], 0]
                frame[ITEM] += 1
                break
            if frame[OPEN] in (LIST, MAP):
                if frame[ITEM] < frame[LAST]:
                    if frame[OPEN] == MAP:
                        o = write_text(data, work.tape[frame[ITEM]], work.out, o)
                        frame[ITEM] += 1
                    token, node = frame[ITEM], schema.nodes[frame[NODE_OF], 2]
                    frame[ITEM] = work.tape[token, NEXT]
                    break
                if o + ROOM > len(work.out):
                    o = -FULL
                else:
                    work.out[o] = 0
                    o += 1
            depth -= 1
        if o < 0 or depth == 0:
            return o


@compiled
def _value(data, token, node, schema, work, o, depth):  # type: ignore[no-untyped-def]
    """Write the value of a token (-1: absent), or open what it holds: the place behind it or an error; depth."""
    if o + ROOM > len(work.out):
        return -FULL, depth
    work.counts[NODE] = node
    missing = token < 0 or work.tape[token, TOKEN] == NULL
    if schema.nodes[node, 1] == 1:
        work.out[o] = 0 if missing else 2
        o += 1
        if missing:
            return o, depth
    elif missing:
        return -MISSING, depth
    kind = schema.nodes[node, 0]
    if kind == RECORD:
        return _record(data, token, node, schema, work, o, depth), depth + 1
    if kind in (LIST, MAP):
        return _items(token, node, schema, work, o, depth), depth + 1
    if kind == PAIR:
        return _pair(token, node, schema, work, o, depth), depth + 1
    return write_scalar(data, token, node, schema, work, o), depth


@compiled
def _record(data, token, node, schema, work, o, depth):  # type: ignore[no-untyped-def]
    if work.tape[token, TOKEN] != OBJECT:
        return -KIND
    first, count = schema.nodes[node, 2], schema.nodes[node, 3]
    for at in range(first, first + count):
        work.held[at] = -1
    # Members come in the order of the schema as a rule, so the field behind the last one is tried first.
    key, end, guess = token + 1, work.tape[token, NEXT], 0
    while key < end:
        for tried in range(count):
            at = first + (guess + tried) % count
            if _is_named(data, work.tape[key], schema.names, schema.fields[at]):
                work.held[at] = key + 1
                guess = at - first + 1
                break
        key = work.tape[key + 1, NEXT]
    _open(work.frames[depth], RECORD, node, first, first + count)
    return o


@inlined
def _open(frame, kind, node, item, last):  # type: ignore[no-untyped-def]
    frame[OPEN] = kind
    frame[NODE_OF] = node
    frame[ITEM] = item
    frame[LAST] = last


@inlined
def _is_named(data, key, names, field):  # type: ignore[no-untyped-def]
    """Whether a key, a row of the tape, is the name of a field."""
    if key[SIZE] != field[2]:
        return False
    p, at, stop = key[START], field[1], field[1] + field[2]
    if key[TOKEN] == STRING:
        while at < stop:
            if data[p] != names[at]:
                return False
            p, at = p + 1, at + 1
        return True
    while at < stop:
        p, byte, rest = _next_byte(data, p, key[STOP], names, at)
        if not byte:
            return False
        at += rest
    return True


@compiled
def _next_byte(data, p, end, names, at):  # type: ignore[no-untyped-def]
    """Compare the next character of a text with escapes: its end, whether it is that at `names[at]`, its bytes."""
    if data[p] != BACKSLASH:
        return p + 1, data[p] == names[at], 1
    p, point, size = escape(data, p, end)
    for byte in range(size):
        if utf8_byte(point, size, byte) != names[at + byte]:
            return p, False, size
    return p, True, size


@compiled
def _items(token, node, schema, work, o, depth):  # type: ignore[no-untyped-def]
    kind = schema.nodes[node, 0]
    if work.tape[token, TOKEN] != (OBJECT if kind == MAP else ARRAY):
        return -KIND
    count, item, end = 0, token + 1, work.tape[token, NEXT]
    while item < end:
        item = work.tape[item + 1 if kind == MAP else item, NEXT]
        count += 1
    _open(work.frames[depth], kind, node, token + 1, end)
    return varint(work.out, o, count) if count else o


@compiled
def _pair(token, node, schema, work, o, depth):  # type: ignore[no-untyped-def]
    """An entry of a map whose keys are no texts: a list of two."""
    if work.tape[token, TOKEN] != ARRAY:
        return -KIND
    key, end = token + 1, work.tape[token, NEXT]
    if key >= end:
        return -KIND
    value = work.tape[key, NEXT]
    if value >= end or work.tape[value, NEXT] != end:
        return -KIND
    _open(work.frames[depth], PAIR, node, value, key)
    return o
