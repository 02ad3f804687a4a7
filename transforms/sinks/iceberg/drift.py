"""What others changed in an Iceberg table: its columns by field id against those that Millrace's property names."""

from typing import Any

import pyarrow as pa

from ....schemas.model.change import POSITION, PREFIX
from ..shared.drift import Drift, InspectedTable
from ..shared.types import stored
from .table_format.columns import Shape, arrow_type, stored_shape
from .table_format.types import in_iceberg


def inspect(table: Any) -> InspectedTable:
    """A column that was renamed is told; commits go on, since files and Millrace know it by its id."""
    shape = stored_shape(table.properties, table.schema(), table.name()[-1])
    if shape is None or not shape.ids:
        return InspectedTable()
    return InspectedTable(shape.table, (*_strange(shape), *_known(shape)))


def _strange(shape: Shape) -> list[Drift]:
    others = [field for field in shape.schema.fields if field.field_id not in shape.ids]
    added = [field for field in others if not field.name.startswith(PREFIX)]
    found = [Drift(field.name, f"was added by hand, {field.field_type}") for field in added]
    if POSITION not in {field.name for field in others}:
        found.append(Drift(POSITION, "was dropped by hand: its values are gone", loses=True))
    return found


def _known(shape: Shape) -> list[Drift]:
    fields, found = {field.field_id: field for field in shape.schema.fields}, []
    for column, number in zip(shape.table.columns, shape.ids, strict=True):
        if number not in fields:
            found.append(Drift(column.name, "was dropped by hand: its values are gone", loses=True))
            continue
        there, left = _plain(arrow_type(fields[number].field_type)), _plain(stored(column.type, in_iceberg))
        if not there.equals(left):
            found.append(Drift(column.name, f"was {left} and is {there}, retyped by hand", stops=False))
        if fields[number].name != column.name:
            found.append(Drift(column.name, f"is called {fields[number].name} by hand, which may be", stops=False))
    return found


def _plain(kind: pa.DataType) -> pa.DataType:
    return stored(kind, in_iceberg)
