"""The loop over payloads: each is read once, and its values are written to slots. Told what to expect by `nodes`.

The keys of an object are guessed: as a rule they come in the order of the message before, so that a key is compared,
and not looked up.
"""

import numpy as np

from ...loops import array, compile_ahead, read_only
from ..columns.jit import compiled, inlined
from .errors import (
    CELLS,
    CELLS_PER_BYTE,
    CODE_BITS,
    DEPTH,
    FREE_CELLS,
    FULL,
    KIND,
    LEFT_OVER,
    MAX_DEPTH,
    MISSING,
    SYNTAX,
    TRUNCATED,
)
from .escapes import QUOTE
from .keys import colon
from .keys import field as field_of
from .nodes import (
    ABSENT,
    BOOLEAN,
    BYTES,
    COUNT,
    DECIMAL,
    FIRST,
    INT,
    LIST,
    MAP,
    MARK,
    NULLABLE,
    NULLS,
    PAIR,
    REAL,
    RECORD,
    SINGLE,
    SKIP,
    SLOT,
    TEXT,
    A,
    B,
)
from .nodes import KIND as OF
from .nodes import NODE as OF_FIELD
from .numbers import integer, real
from .scalars import boolean, decimal, octets, text, zoned
from .scan import CLOSE_LIST, CLOSE_OBJECT, COMMA, OPEN_LIST, OPEN_OBJECT, blank, skip, word
from .work import (
    CELLS_LEFT,
    FLOATS,
    GUESS,
    HAD,
    IS,
    NODE,
    OPEN,
    OUTER,
    ROW,
    STAMP,
    WANTED,
    Plan,
    Rows,
    new_work,
)


@compile_ahead(
    (
        read_only(np.uint8),
        Rows(read_only(np.int64), read_only(np.int64), array(np.int64)),
        Plan(array(np.int64, 2), array(np.int64, 2), array(np.uint8), array(np.int64, 2)),
        new_work(array(np.int64), array(np.uint8), array(np.int64), (1, 1, 1, 1)),
    ),
    slow=True,
)
@compiled
def fill(data, rows, plan, work):  # type: ignore[no-untyped-def]
    """Read each payload whose error is 0; -1, or the level whose room is too small (0: that of floats).

    A payload that fails takes back the rows of its items and its floats.
    """
    for row in range(len(rows.at)):
        if rows.errors[row] != 0:
            continue
        for level in range(len(work.rows)):
            work.before[level] = work.rows[level]
        floats = work.counts[FLOATS]
        work.counts[NODE] = 0
        work.counts[ROW] = row
        work.counts[CELLS_LEFT] = FREE_CELLS + CELLS_PER_BYTE * rows.length[row]
        p, end = rows.at[row], rows.at[row] + rows.length[row]
        p = _payload(data, p, end, row, plan, work)
        if p >= 0 and blank(data, p, end) != end:
            p = -LEFT_OVER
        if p == -FULL:
            return work.counts[WANTED]
        if p < 0:
            rows.errors[row] = (work.counts[NODE] << CODE_BITS) - p
            work.counts[FLOATS] = floats
            _take_back(plan, work)
    return -1


@compiled
def _take_back(plan, work):  # type: ignore[no-untyped-def]
    """Empty the rows of items that a payload wrote which failed."""
    for at in range(len(plan.cells)):
        start, level = plan.cells[at, 0], plan.cells[at, 1]
        for row in range(work.before[level], work.rows[level]):
            if plan.cells[at, 2] == 1:
                work.valid[start + row] = 0
            else:
                work.values[start + row] = 0
    for level in range(len(work.rows)):
        work.rows[level] = work.before[level]


# The state of a run over one payload: the place `p`, the node whose value stands there, the row of its level, and how
# many objects and lists are open. A negative `p` is an error's number, negated.
@compiled
def _payload(data, p, end, row, plan, work):  # type: ignore[no-untyped-def]
    depth, at = 0, 0
    while True:
        p = blank(data, p, end)
        if p >= end:
            return -TRUNCATED
        node = plan.nodes[at]
        kind = node[OF]
        opened = False
        if kind == SKIP:
            p = skip(data, p, end, depth, work.kinds)
        elif data[p] == 0x6E:
            work.counts[NODE] = at
            p = word(data, p, end, (0x6E, 0x75, 0x6C, 0x6C))
            if p >= 0 and node[NULLABLE] == 0:
                return -MISSING
        else:
            work.counts[NODE] = at
            if node[MARK] >= 0:
                work.valid[node[MARK] + row] = 1
            if kind == TEXT:
                p = text(data, p, end, node, row, work)
            elif kind == INT:
                p = integer(data, p, end, node, row, work)
            elif kind == RECORD or (kind >= LIST and kind <= PAIR):
                opened = True
                p = _open(data, p, at, row, depth, plan, work)
                depth += 1
            else:
                p = _rarer(data, p, end, node, row, work)
        if p < 0:
            return p
        p, at, row, depth = _next(data, p, end, row, depth, opened, plan, work)
        if p < 0 or at < 0:
            return p


@compiled
def _rarer(data, p, end, node, row, work):  # type: ignore[no-untyped-def]
    kind = node[OF]
    if kind in (REAL, SINGLE):
        return real(data, p, end, node, row, work)
    if kind == BOOLEAN:
        return boolean(data, p, end, node, row, work)
    if kind == BYTES:
        return octets(data, p, end, node, row, work)
    if kind == DECIMAL:
        return decimal(data, p, end, node, row, work)
    if kind == NULLS:
        return -KIND
    return zoned(data, p, end, node, row, work)


@inlined
def _open(data, p, at, row, depth, plan, work):  # type: ignore[no-untyped-def]
    """Step into an object or list; the place behind its bracket."""
    if depth >= MAX_DEPTH:
        return -DEPTH
    node = plan.nodes[at]
    kind = node[OF]
    if data[p] != (OPEN_OBJECT if kind in (RECORD, MAP) else OPEN_LIST):
        return -KIND
    frame = work.frames[depth]
    frame[OPEN] = at
    frame[IS] = kind
    frame[OUTER] = row
    frame[HAD] = 0
    frame[GUESS] = 0
    if kind == RECORD:
        frame[GUESS] = node[FIRST]
        work.stamp[0] += 1
        frame[STAMP] = work.stamp[0]
    return p + 1


@inlined
def _next(data, p, end, row, depth, opened, plan, work):  # type: ignore[no-untyped-def]
    """Where the next value stands, its node and row, and the depth; the node is -1 behind the payload."""
    while depth > 0:
        frame = work.frames[depth - 1]
        kind = frame[IS]
        p = blank(data, p, end)
        if p >= end:
            return -TRUNCATED, -1, row, depth
        if data[p] == (CLOSE_OBJECT if kind in (RECORD, MAP) else CLOSE_LIST):
            error = _close(frame, plan, work)
            if error != 0:
                return -error, -1, row, depth
            row, depth, opened, p = frame[OUTER], depth - 1, False, p + 1
            continue
        if not opened:
            if data[p] != COMMA:
                return -SYNTAX, -1, row, depth
            p = blank(data, p + 1, end)
            if p >= end:
                return -TRUNCATED, -1, row, depth
        if kind == RECORD:
            p, field = field_of(data, p, end, frame, plan, work)
            if p < 0:
                return p, -1, row, depth
            if field >= 0:
                return p, plan.fields[field, OF_FIELD], row, depth
            p, opened = skip(data, p, end, depth, work.kinds), False
            if p < 0:
                return p, -1, row, depth
            continue
        if kind == PAIR:
            at = plan.nodes[frame[OPEN], FIRST] + frame[HAD]
            frame[HAD] += 1
            if frame[HAD] > 2:
                return -KIND, -1, row, depth
            return p, plan.fields[at, OF_FIELD], row, depth
        p, row = _item(data, p, end, frame, plan, work)
        return p, plan.nodes[frame[OPEN], FIRST], row, depth
    return p, -1, row, depth


@compiled
def _close(frame, plan, work):  # type: ignore[no-untyped-def]
    """An object or list ends: 0, or the number of an error."""
    node = plan.nodes[frame[OPEN]]
    if frame[IS] == RECORD:
        if frame[HAD] == node[COUNT]:
            return 0
        for field in range(node[FIRST], node[FIRST] + node[COUNT]):
            at = plan.fields[field, OF_FIELD]
            if work.seen[field] == frame[STAMP]:
                continue
            if plan.nodes[at, NULLABLE] == 0 and plan.nodes[at, OF] != SKIP:
                work.counts[NODE] = at
                return MISSING
            if plan.nodes[at, ABSENT] >= 0:
                work.valid[plan.nodes[at, ABSENT] + frame[OUTER]] = 1
        return 0
    if frame[IS] == PAIR:
        work.counts[NODE] = frame[OPEN]
        return 0 if frame[HAD] == 2 else KIND
    work.values[node[SLOT] + frame[OUTER]] = frame[GUESS]
    return 0


@compiled
def _item(data, p, end, frame, plan, work):  # type: ignore[no-untyped-def]
    """A row for the item at `p`, whose key is read where it has one; the place of its value, and the row."""
    node = plan.nodes[frame[OPEN]]
    level = node[COUNT]
    row = work.rows[level]
    if row >= work.room[level]:
        work.counts[WANTED] = level
        return -FULL, 0
    work.counts[CELLS_LEFT] -= node[B]
    if work.counts[CELLS_LEFT] < 0:
        work.counts[NODE] = frame[OPEN]
        return -CELLS, 0
    work.rows[level] = row + 1
    frame[GUESS] += 1
    if frame[IS] == LIST:
        return p, row
    if data[p] != QUOTE:
        return -SYNTAX, 0
    p = text(data, p, end, plan.nodes[node[A]], row, work)
    return colon(data, p, end), row
