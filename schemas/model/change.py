"""Changes: one Arrow record batch of one table, a row a change.

Columns: the row's own, in the stream's order, then Millrace's:

    _millrace_op           int8                    UPSERT or DELETE
    _millrace_position     fixed_size_binary(32)   source order; bytes compare as the source orders
    _millrace_source       int32                   number of the topic partition, -1 where it is not accounted
    _millrace_unavailable  list<string>, may be absent or null: columns whose value the source did not send
    _millrace_moved        binary, may be absent or null: the other key of a key change, as the header's JSON
    _millrace_after        fixed_size_binary(16), may be absent or null: see below
    _millrace_time         int64, present only for windows by event time: the change's own time, milliseconds

A snapshot row and a lone tombstone have no position that says where they stand among streamed changes: their place in
the log does. `_millrace_after` is the highest (source commit order, order inside it) that is known to stand before such
a change in its partition; `merging.log_order` gives it its position.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .modes import MODE_COLUMNS

PREFIX: Final = "_millrace_"
OP: Final = "_millrace_op"
POSITION: Final = "_millrace_position"
SOURCE: Final = "_millrace_source"
UNAVAILABLE: Final = "_millrace_unavailable"
MOVED: Final = "_millrace_moved"
AFTER: Final = "_millrace_after"
TIME: Final = "_millrace_time"

UPSERT: Final = 0
DELETE: Final = 1

POSITION_WORDS: Final = 4
POSITION_TYPE: Final = pa.binary(8 * POSITION_WORDS)
CHANGE_FIELDS: Final = (
    pa.field(OP, pa.int8(), nullable=False),
    pa.field(POSITION, POSITION_TYPE, nullable=False),
    pa.field(SOURCE, pa.int32(), nullable=False),
)
UNAVAILABLE_TYPE: Final = pa.list_(pa.string())
MOVED_TYPE: Final = pa.binary()
AFTER_TYPE: Final = pa.binary(24)


def of_row(name: str) -> bool:
    """Whether a column is the row's: one of the stream, or one that the table's mode adds (`schemas.model.modes`)."""
    return not name.startswith(PREFIX) or name in MODE_COLUMNS


def row_schema(schema: pa.Schema) -> pa.Schema:
    """The schema without the columns of a change above."""
    return pa.schema([field for field in schema if of_row(field.name)])


def own_columns(batch: pa.RecordBatch) -> list[str]:
    """Names of the row's columns, without those of a change above."""
    return [name for name in batch.schema.names if of_row(name)]


def names_by_row(masks: Mapping[str, NDArray[np.bool_]], count: int) -> pa.Array:
    """By row the names whose mask is set, as `list<string>`; null where there is none."""
    if not masks:
        return pa.nulls(count, UNAVAILABLE_TYPE)
    matrix = np.stack(list(masks.values()), axis=1)
    numbers = np.nonzero(matrix)[1]
    counts = matrix.sum(axis=1)
    offsets = pa.array(np.concatenate(([0], np.cumsum(counts))).astype(np.int32))
    whole = pa.array(np.append(counts == 0, False))
    names = pa.array(list(masks)).take(pa.array(numbers))
    return pa.ListArray.from_arrays(pc.if_else(whole, pa.scalar(None, pa.int32()), offsets), names).cast(
        UNAVAILABLE_TYPE
    )


def masks_by_name(rows: pa.RecordBatch | pa.Table) -> dict[str, NDArray[np.bool_]]:
    """By column that is unavailable in some row, the rows where it is: what `names_by_row` was made of."""
    if UNAVAILABLE not in rows.schema.names:
        return {}
    lists = rows.column(UNAVAILABLE)
    lists = lists.combine_chunks() if isinstance(lists, pa.ChunkedArray) else lists
    names, parents = pc.list_flatten(lists), np.asarray(pc.list_parent_indices(lists))
    masks = {}
    for name in pc.unique(names).to_pylist():
        masks[name] = np.zeros(rows.num_rows, np.bool_)
        masks[name][parents[np.asarray(pc.equal(names, name))]] = True
    return masks
