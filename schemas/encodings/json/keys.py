"""Keys of objects: guessed, compared, and looked up where the guess is wrong; called by `fill` alone."""

from ..columns.jit import compiled, inlined
from ..columns.words import same
from .errors import SYNTAX, TRUNCATED, TWICE
from .escapes import QUOTE, unescaped
from .nodes import COUNT, FIRST, NAME_AT, NAME_SIZE, RAW_SIZE
from .scan import COLON, ESCAPED, blank, string
from .work import ARENA, GUESS, HAD, OPEN, ROW, STAMP


@inlined
def colon(data, p, end):  # type: ignore[no-untyped-def]
    """The place behind the colon of a key that ends at `p`."""
    if p < 0:
        return p
    if p < end and data[p] == COLON:
        return p + 1
    p = blank(data, p, end)
    if p >= end:
        return -TRUNCATED
    return p + 1 if data[p] == COLON else -SYNTAX


@inlined
def field(data, p, end, frame, plan, work):  # type: ignore[no-untyped-def]
    """The place behind the key at `p` and its colon, and the row of its field; -1 for a field that the plan has not."""
    if data[p] != QUOTE:
        return -SYNTAX, -1
    guess, found = frame[GUESS], -1
    node = plan.nodes[frame[OPEN]]
    if guess < node[FIRST] + node[COUNT]:
        size = plan.fields[guess, RAW_SIZE]
        stop = p + 1 + size
        if stop < end and data[stop] == QUOTE and same(data, p + 1, plan.names, plan.fields[guess, NAME_AT], size):
            found, p = guess, stop + 1
    if found < 0:
        p, found = _look_up(data, p, end, guess, node, plan, work)
    p = colon(data, p, end)
    if found >= 0 and p >= 0:
        if work.seen[found] == frame[STAMP]:
            return -TWICE, -1
        work.seen[found] = frame[STAMP]
        frame[HAD] += 1
        frame[GUESS] = found + 1
    return p, found


@compiled
def _look_up(data, p, end, guess, node, plan, work):  # type: ignore[no-untyped-def]
    """The place behind a key, and the row of its field or -1; the fields behind the guess are tried first."""
    start = p + 1
    p, marks = string(data, start, end)
    if p < 0:
        return p, -1
    size, escaped = p - start, marks & ESCAPED
    o = work.counts[ARENA]
    if escaped:
        stop = unescaped(data, start, p, work.arena, o)
        if stop < 0:
            return stop, -1
        size = stop - o
    first, count = node[FIRST], node[COUNT]
    for tried in range(count):
        field = first + (guess - first + tried) % count
        if plan.fields[field, NAME_SIZE] != size:
            continue
        name = plan.fields[field, NAME_AT]
        if same(work.arena, o, plan.names, name, size) if escaped else same(data, start, plan.names, name, size):
            return p + 1, field
    work.strange[work.counts[ROW]] = 1
    return p + 1, -1
