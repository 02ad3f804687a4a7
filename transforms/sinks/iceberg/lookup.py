"""The table's rows of given keys, for modes whose new rows depend on them: only files that hold them are read whole."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ....schemas.model.change import POSITION
from .keys.digests import digest
from .keys.file_pruning import candidates
from .keys.keyed_table import Found, KeyedTable
from .rows import from_stored, key_arrays, to_stored
from .table_format.columns import Shape
from .table_format.manifests import EMPTY


def lookup(target: KeyedTable, keys: pa.Table, columns: pa.Schema, upto: bytes | None) -> pa.Table:
    """The rows with these values in the columns of `keys` and a position of at most `upto`, as the stream has them.

    A whole key is found by the index. By other columns, files whose bounds allow the values and the position have these
    columns read. Other columns are read of files with a row that was found.
    """
    shape = target.shape
    assert shape is not None
    stored = to_stored(keys.schema, keys, shape)
    if sorted(keys.column_names) == sorted(shape.table.key):
        found = target.find(key_arrays(stored, shape.table))
    else:
        found = _streamed(target, shape, stored, upto)
    if upto is not None:
        positions = target.values(found, [shape.position_id]).column(0)
        found = found.where(np.asarray(pc.less_equal(positions, pa.scalar(upto, pa.binary()))))
    rows = target.values(found, [_id(shape, name) for name in columns.names])
    return pa.Table.from_batches(from_stored(columns, rows), columns)


def _streamed(target: KeyedTable, shape: Shape, keys: pa.Table, upto: bytes | None) -> Found:
    """As `KeyedTable.find`, by columns that are not the whole key."""
    values = {_id(shape, name): keys.column(name).combine_chunks() for name in keys.column_names}
    files = candidates(target.table, shape, list(target.layout.files.values()), values)
    if upto is not None:
        lowest = [((file.data.lower_bounds or {}).get(shape.position_id), file) for file in files]
        files = [file for lower, file in lowest if lower is None or lower <= upto]
    parts = target.stream(digest(list(values.values())), files, target.fields(list(values)))
    parts.append(Found(EMPTY, EMPTY, EMPTY, EMPTY))
    return Found(*(np.concatenate([getattr(p, n) for p in parts]) for n in ("row", "number", "at", "slot")))


def _id(shape: Shape, name: str) -> int:
    if name == POSITION:
        return shape.position_id
    return shape.ids[shape.table.columns.names.index(name)]
