"""Messages that hold several changes: what the last of them leaves of each key.

The changes of a message have one place in the log. So of a key that a message changes more than once, only what it
leaves in the end is a change; where no position says more, nothing could tell the others apart from it.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..model.key import number_keys
from .key_columns import KeyedRows


def last_of_each_message(
    keyed: KeyedRows, left: KeyedRows | None, key: tuple[str, ...]
) -> tuple[KeyedRows, KeyedRows | None]:
    """The rows, and those that left their key (`left`), which are the last of their key in their message."""
    parts = [keyed] if left is None else [left, keyed]
    rows = np.concatenate([part.rows for part in parts])
    if not (keyed.rows[1:] == keyed.rows[:-1]).any():
        return keyed, left
    columns = [pa.concat_arrays([_of_type(part, name, keyed) for part in parts]) for name in key]
    codes, _ = number_keys(columns)
    last = _last(rows, codes, np.concatenate([_steps(part, part is keyed) for part in parts]))
    first = 0 if left is None else len(left.rows)
    return keyed.take(np.flatnonzero(last[first:])), None if left is None else left.take(np.flatnonzero(last[:first]))


def _of_type(part: KeyedRows, name: str, keyed: KeyedRows) -> pa.Array:
    kind = keyed.columns[name].type
    return part.columns[name] if part.columns[name].type == kind else part.columns[name].cast(kind)


def _steps(part: KeyedRows, arrives: bool) -> NDArray[np.int64]:
    """When each row happened: a row leaves its old key before it is under the new one."""
    assert part.events is not None
    return 2 * part.events + int(arrives)


def _last(rows: NDArray[np.int64], codes: NDArray[np.int32], steps: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of them come last of their message and key."""
    order = np.lexsort((steps, codes, rows))
    last = np.ones(len(rows), np.bool_)
    same = (rows[order][1:] == rows[order][:-1]) & (codes[order][1:] == codes[order][:-1])
    last[order[:-1][same]] = False
    return last
