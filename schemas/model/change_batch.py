"""Change batches from a row's columns and what is known of each change."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .change import CHANGE_FIELDS, MOVED, MOVED_TYPE, POSITION_TYPE, TIME, UNAVAILABLE, UNAVAILABLE_TYPE


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeColumns:
    """Millrace's columns of a batch, before they are Arrow; `unavailable` and `moved` by row, or None."""

    op: NDArray[np.int8]
    position: pa.Array
    source: int
    unavailable: pa.Array | None = None
    moved: pa.Array | None = None
    time: NDArray[np.int64] | None = None


def change_batch(columns: dict[str, pa.Array], marks: ChangeColumns) -> pa.RecordBatch:
    """A batch of changes (`schemas.model.change`) from the row's columns and Millrace's own.

    A stream's own column whose name begins with `_millrace_` is refused by the sinks, not here.
    """
    count = len(marks.op)
    arrays = [*columns.values(), pa.array(marks.op), marks.position, pa.array(np.full(count, marks.source, np.int32))]
    fields = [pa.field(name, array.type) for name, array in columns.items()] + list(CHANGE_FIELDS)
    for name, kind, array in (
        (UNAVAILABLE, UNAVAILABLE_TYPE, marks.unavailable),
        (MOVED, MOVED_TYPE, marks.moved),
        (TIME, pa.int64(), None if marks.time is None else pa.array(marks.time)),
    ):
        if array is not None:
            fields.append(pa.field(name, kind))
            arrays.append(array)
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


def take_positions(position: pa.Array, rows: NDArray[np.int64]) -> pa.Array:
    """Positions of `rows`, by a plain gather of 32-byte numbers."""
    raw = np.frombuffer(position.buffers()[1], np.dtype("V32"), len(position), position.offset * 32)
    return pa.Array.from_buffers(POSITION_TYPE, len(rows), [None, pa.py_buffer(raw[rows])])
