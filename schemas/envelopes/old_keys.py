"""Key changes of formats that tell of a changed row what it was before: all of it, or what changed of it."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .key_columns import fitted

UNFIT: Final = "the row before has another type of value in a column of the key than the row"


def keys_before(
    key: Sequence[str], row: pa.StructArray, old: pa.StructArray
) -> tuple[pa.StructArray, NDArray[np.bool_]]:
    """The key's columns of the row before: what `old` has of them, else what the row has; and where `old` does not fit.

    A column of a key that is NULL in `old` counts as not told: a row under such a key is none of the table.
    """
    names = [name for name in key if row.type.get_field_index(name) >= 0]
    columns, unfit = [], np.zeros(len(row), np.bool_)
    for name in names:
        column = pc.struct_field(row, name)
        if old.type.get_field_index(name) >= 0:
            told, fits = fitted(pc.struct_field(old, name), column)
            unfit |= ~fits
            column = pc.coalesce(told, column)
        columns.append(column)
    return struct_from(columns, names, len(row)), unfit


def without_deleted(row: pa.StructArray, deletes: NDArray[np.bool_]) -> pa.StructArray:
    """The rows, with nothing in those of deletes: their key is in the row before."""
    if not deletes.any():
        return row
    gone = pa.array(deletes)
    columns = [
        column if pa.types.is_null(column.type) else pc.if_else(gone, pa.scalar(None, column.type), column)
        for column in (row.field(number) for number in range(row.type.num_fields))
    ]
    if not columns:
        return row
    return pa.StructArray.from_arrays(columns, fields=list(row.type), mask=row.is_null())


def struct_from(columns: Sequence[pa.Array], names: Sequence[str], count: int) -> pa.StructArray:
    """A struct of these columns; arrays without any keep their length."""
    if not names:
        return pa.nulls(count, pa.struct([]))
    return pa.StructArray.from_arrays(list(columns), list(names))
