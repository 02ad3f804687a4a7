"""The data files that may hold rows of given values, by the bounds of columns and by partition; none is opened."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ..table_format.column_bounds import decoded
from ..table_format.columns import Shape
from ..table_format.manifests import Live
from ..table_format.partitions import internal, transformed


def candidates(table: Any, shape: Shape, files: Sequence[Live], columns: Mapping[int, pa.Array]) -> list[Live]:
    """The files that may hold a row of one of the values; `columns` are of stored types, by field id."""
    found = [file for file in files if _within(file.data, columns)]
    for spec_id in {file.data.spec_id for file in found}:
        for number, field in enumerate(table.specs()[spec_id].fields):
            if field.source_id in columns and found:
                name = shape.table.columns.names[shape.ids.index(field.source_id)]
                column = pa.table([columns[field.source_id]], [name])
                values = set(internal(transformed(column, shape, field).unique()))
                found = [f for f in found if f.data.spec_id != spec_id or f.data.partition[number] in values]
    return found


def _within(data: Any, columns: Mapping[int, pa.Array]) -> bool:
    for number, column in columns.items():
        lower, upper = (data.lower_bounds or {}).get(number), (data.upper_bounds or {}).get(number)
        if lower is None or upper is None or column.null_count or pa.types.is_floating(column.type):
            continue
        ends = decoded(lower, column.type), decoded(upper, column.type)
        values = _comparable(column, ends[0].type)
        inside = pc.and_(pc.greater_equal(values, ends[0]), pc.less_equal(values, ends[1]))
        if not pc.any(inside).as_py():
            return False
    return True


def _comparable(column: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_date32(column.type):
        return column.cast(pa.int32()).cast(kind)
    if pa.types.is_time64(column.type) or pa.types.is_timestamp(column.type):
        return column.cast(pa.int64())
    return column.cast(kind)
