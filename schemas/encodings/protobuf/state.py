"""What a run of the loop writes to: slots, the rows of levels, and the stack of messages."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .payload_errors import MAX_DEPTH
from .program import Tables

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
    return empty_state(values, valid, tables.levels, len(tables.writing), tables.oneofs)


def empty_state(values: NDArray[np.int64], valid: NDArray[np.uint8], levels: int, fields: int, oneofs: int) -> State:
    """A state for so many levels, fields and oneofs."""
    rows, before = np.zeros((2, levels), np.int64)
    frames, notes = np.zeros((MAX_DEPTH + 1, 4), np.int64), np.zeros(6, np.int64)
    groups, parts = np.zeros(MAX_DEPTH, np.int64), np.zeros(4, np.int64)
    seen, member = np.zeros(fields, np.int64), np.zeros((oneofs + 1, 2), np.int64)
    return State(values, valid, rows, before, frames, notes, seen, member, groups, parts)
