"""What the loop over payloads is given and writes to."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import MAX_DEPTH

# Columns of `Work.floats`: the index in the values, where the number's text is in the data, its length, 4 or 8 bytes,
# the payload, and where no digit may be lost one more than the node.
GOES, TEXT_PLACE, LENGTH, SIZE, PAYLOAD, EXACT = 0, 1, 2, 3, 4, 5
# `Work.counts`: floats so far, bytes of the arena, the node of the last error, the payload, cells that its items may
# still take, and what has too little room: a level, 0 for floats.
FLOATS, ARENA, NODE, ROW, CELLS_LEFT, WANTED = 0, 1, 2, 3, 4, 5
# Columns of a frame: the node that is open, its kind, the next field that is guessed (of a list its items so far), the
# number of the object, the fields that it had, the outer row.
OPEN, IS, GUESS, STAMP, HAD, OUTER = 0, 1, 2, 3, 4, 5


class Plan(NamedTuple):
    """The arrays of a plan, `nodes` placed.

    `cells` has a row for each slot of a level above 0: where it begins, the level, and 1 where it is one of validity.
    """

    nodes: NDArray[np.int64]
    fields: NDArray[np.int64]
    names: NDArray[np.uint8]
    cells: NDArray[np.int64]


class Work(NamedTuple):
    """What a run writes to.

    `values` and `valid` are as in `columns.slots`; `reals` and `singles` are the values as floats. `rows` counts the
    rows of each level, `room` is what each may have, `before` what it had when the payload began. `arena` has texts
    with escapes and decoded bytes. `seen` has by field the last object that had it, numbered by `stamp`. `strange` is 1
    for payloads with a field that the plan has not. `frames` is what is open, `kinds` the same for what is skipped.
    """

    values: NDArray[np.int64]
    reals: NDArray[np.float64]
    singles: NDArray[np.float32]
    valid: NDArray[np.uint8]
    rows: NDArray[np.int64]
    room: NDArray[np.int64]
    before: NDArray[np.int64]
    arena: NDArray[np.uint8]
    floats: NDArray[np.int64]
    counts: NDArray[np.int64]
    words: NDArray[np.uint64]
    seen: NDArray[np.int64]
    stamp: NDArray[np.int64]
    strange: NDArray[np.uint8]
    frames: NDArray[np.int64]
    kinds: NDArray[np.uint8]


class Rows(NamedTuple):
    """By payload: where it is in the data, and its error with the node (0: none)."""

    at: NDArray[np.int64]
    length: NDArray[np.int64]
    errors: NDArray[np.int64]


def new_work(
    values: NDArray[np.int64], valid: NDArray[np.uint8], room: NDArray[np.int64], sizes: tuple[int, ...]
) -> Work:
    """Empty counters. `sizes`: bytes of the arena, floats, fields of the plan, payloads."""
    arena, floats, fields, payloads = sizes
    rows, before = np.zeros((2, len(room)), np.int64)
    return Work(
        values,
        values.view(np.float64),
        values.view(np.float32),
        valid,
        rows,
        room,
        before,
        np.empty(arena, np.uint8),
        np.empty((floats, 6), np.int64),
        np.zeros(6, np.int64),
        np.zeros(4, np.uint64),
        np.zeros(fields + 1, np.int64),
        np.zeros(1, np.int64),
        np.zeros(payloads, np.uint8),
        np.zeros((MAX_DEPTH + 1, 6), np.int64),
        np.zeros(MAX_DEPTH, np.uint8),
    )
