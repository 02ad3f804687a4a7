"""Columns of an Iceberg table: the stream's types and Iceberg's, by field id, and how they grow.

The table property `millrace.table` holds the stream's side as JSON: `format` (the version of positions), `name`, `key`,
`columns` (Arrow IPC in Base64) and `ids`, the field id of each column. Files are read by these ids: a column that is
renamed in the catalog stays the same.
"""

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

import pyarrow as pa

from .....schemas.errors import TerminalSinkError
from .....schemas.merging.renaming import with_names
from .....schemas.model.change import POSITION, PREFIX
from .....schemas.model.stored_format import POSITIONS
from .....schemas.model.table import Table
from ...shared.damage import intact
from ...shared.types import stored
from ..pyiceberg import NestedField, Schema, types
from .types import in_iceberg

TABLE: Final = "millrace.table"
FIELD_ID: Final = b"PARQUET:field_id"
LEAVES: Final = (
    (types.BooleanType, pa.bool_()),
    (types.IntegerType, pa.int32()),
    (types.LongType, pa.int64()),
    (types.FloatType, pa.float32()),
    (types.DoubleType, pa.float64()),
    (types.DateType, pa.date32()),
    (types.TimeType, pa.time64("us")),
    (types.TimestampType, pa.timestamp("us")),
    (types.TimestamptzType, pa.timestamp("us", "UTC")),
    (types.StringType, pa.string()),
    (types.BinaryType, pa.binary()),
)


@dataclass(frozen=True, slots=True)
class Shape:
    """A table as the stream has it, the field id of each of its columns, and the schema in the catalog."""

    table: Table
    ids: tuple[int, ...]
    schema: Any

    @property
    def key_ids(self) -> tuple[int, ...]:
        return tuple(self.ids[self.table.columns.names.index(name)] for name in self.table.key)

    @property
    def position_id(self) -> int:
        return next(field.field_id for field in self.schema.fields if field.name == POSITION)

    @property
    def stored(self) -> pa.Schema:
        """The user's columns, under their names in the stream, in the types that the table has."""
        fields = {field.field_id: field for field in self.schema.fields}
        return pa.schema(
            [
                pa.field(name, arrow_type(fields[number].field_type))
                for name, number in zip(self.table.columns.names, self.ids, strict=True)
            ]
        )

    @property
    def file(self) -> pa.Schema:
        """What a data file holds: each column with its field id in the field's metadata."""
        return pa.schema([_arrow_field(field) for field in self.schema.fields])

    def properties(self) -> dict[str, str]:
        """What `read_shape` reads."""
        columns = base64.b64encode(self.table.columns.remove_metadata().serialize().to_pybytes()).decode()
        found = {
            "format": POSITIONS.newest,
            "name": self.table.name,
            "key": self.table.key,
            "ids": self.ids,
            "columns": columns,
        }
        return {TABLE: json.dumps(found, ensure_ascii=False)}


def stored_shape(properties: dict[str, str], schema: Any, name: str) -> Shape | None:
    """The shape by the property, whatever the schema is by now; None where Millrace did not make the table."""
    if TABLE not in properties:
        return None
    with intact(name, f"the table property {TABLE}", whole=True):
        found = json.loads(properties[TABLE])
        POSITIONS.check(found.get("format"), f"the Iceberg table of {found['name']}")
        columns = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(found["columns"])))
        return Shape(Table(found["name"], tuple(found["key"]), columns), tuple(found["ids"]), schema)


def read_shape(properties: dict[str, str], schema: Any, name: str) -> Shape | None:
    """The shape of a table; None where Millrace did not make it. Raises TerminalSinkError where others changed it."""
    shape = stored_shape(properties, schema, name)
    if shape is None:
        return None
    columns = shape.table.columns
    held = {field.field_id: field.name for field in schema.fields}
    strange = [n for number, n in held.items() if number not in shape.ids and not n.startswith(PREFIX)]
    gone = [name for name, number in zip(columns.names, shape.ids, strict=True) if number not in held]
    if strange or gone or POSITION not in held.values():
        what = f"column {strange[0]!r} was added" if strange else f"column {[*gone, POSITION][0]!r} was dropped"
        raise TerminalSinkError(
            f"the Iceberg table of {shape.table.name} has other columns by now: {what}; put its columns back as they "
            "were, or write to a new table"
        )
    return shape


def empty_shape(name: str, extra: pa.Schema | None = None) -> Shape:
    """A new table that holds a ledger, and no rows yet; `extra` are Millrace's own columns beside the position."""
    own = [pa.field(POSITION, pa.binary()), *(extra or ())]
    fresh = count(1)
    fields = [NestedField(next(fresh), field.name, iceberg_type(field.type, fresh), required=False) for field in own]
    return Shape(Table(name, (), pa.schema([])), (), Schema(*fields, schema_id=0))


@dataclass(frozen=True, slots=True)
class LastIds:
    """The largest field id and the largest schema id that a table ever gave."""

    field: int
    schema: int

    @classmethod
    def of(cls, metadata: Any) -> "LastIds":
        return cls(metadata.last_column_id, max(schema.schema_id for schema in metadata.schemas))


def grown(shape: Shape, table: Table, last: LastIds, at_end: bool = False) -> tuple[Shape, bool]:
    """The shape with the columns of `table`, and whether the files have to be rewritten for it.

    A new column, and a type that Iceberg promotes, need no rewriting. Any other new type is a new field id. `last` are
    the ids that were given last. A schema that is as it was keeps its id. New columns stand before
    Millrace's own, or `at_end`.
    """
    fresh, ids, rewrite = count(last.field + 1), list[int](), False
    fields = {field.field_id: field for field in shape.schema.fields}
    known = dict(zip(shape.table.columns.names, shape.ids, strict=True))
    for field in table.columns:
        kind = stored(field.type, in_iceberg)
        number = known.get(field.name, 0)
        old = shape.table.columns.field(field.name).type if number else None
        if old is not None and _kept(old, field.type):
            fields[number] = fields[number].model_copy(update={"field_type": _same_ids(fields[number], kind)})
        else:
            rewrite |= number > 0
            held = fields.pop(number, None)
            number = int(next(fresh))
            name = field.name if held is None else held.name
            fields[number] = NestedField(number, name, iceberg_type(kind, fresh), required=False)
        ids.append(number)
    order = list(fields) if at_end else [*ids, *(number for number in fields if number not in ids)]
    made = [fields[number] for number in order]
    same = made == list(shape.schema.fields)
    schema = shape.schema if same else Schema(*made, schema_id=last.schema + 1)
    return Shape(table, tuple(ids), schema), rewrite


def restricted(shape: Shape, columns: pa.Schema, last: LastIds) -> Shape:
    """The shape without the user's columns that are not among these; Millrace's own stay."""
    kept = [
        (field, number)
        for field, number in zip(shape.table.columns, shape.ids, strict=True)
        if field.name in columns.names
    ]
    if len(kept) == len(shape.ids):
        return shape
    ids = tuple(number for _, number in kept)
    fields = [field for field in shape.schema.fields if field.field_id in ids or field.field_id not in shape.ids]
    table = Table(shape.table.name, (), pa.schema([field for field, _ in kept]))
    return Shape(table, ids, Schema(*fields, schema_id=last.schema + 1))


def renamed(shape: Shape, names: Mapping[str, str], last: LastIds) -> Shape:
    """The shape with columns of other names, in the catalog too where they have the stream's name there."""
    fields = {field.field_id: field for field in shape.schema.fields}
    for name, number in zip(shape.table.columns.names, shape.ids, strict=True):
        if name in names and fields[number].name == name:
            fields[number] = fields[number].model_copy(update={"name": names[name]})
    schema = Schema(*fields.values(), schema_id=last.schema + 1)
    return Shape(with_names(shape.table, names), shape.ids, schema)


def _same_ids(field: Any, kind: pa.DataType) -> Any:
    return field.field_type if pa.types.is_nested(kind) else iceberg_type(kind, iter(()))


def _kept(old: pa.DataType, new: pa.DataType, top: bool = True) -> bool:
    """Whether stored values of the old type are, as they are, those of the new one."""
    if old.equals(new):
        return True
    if pa.types.is_nested(old) or pa.types.is_nested(new):
        if old.id != new.id or [field.name for field in _children(old)] != [field.name for field in _children(new)]:
            return False
        return all(_kept(a.type, b.type, False) for a, b in zip(_children(old), _children(new), strict=True))
    if any(pa.types.is_duration(kind) or pa.types.is_decimal256(kind) for kind in (old, new)):
        return False
    a, b = stored(old, in_iceberg), stored(new, in_iceberg)
    return a.equals(b) or (top and _promoted(a, b))


def _children(kind: pa.DataType) -> list[pa.Field]:
    return [kind.field(number) for number in range(kind.num_fields)]


def _promoted(old: pa.DataType, new: pa.DataType) -> bool:
    wider = ((pa.int32(), pa.int64()), (pa.float32(), pa.float64()))
    decimals = pa.types.is_decimal128(old) and pa.types.is_decimal128(new)
    return (old, new) in wider or (decimals and old.scale == new.scale and old.precision <= new.precision)


def iceberg_type(kind: pa.DataType, fresh: Iterator[int]) -> Any:
    """The Iceberg type of a stored one, with fresh field ids inside."""
    for made, leaf in LEAVES:
        if kind.equals(leaf):
            return made()
    if pa.types.is_decimal(kind):
        return types.DecimalType(kind.precision, kind.scale)
    if pa.types.is_struct(kind):
        numbers = [next(fresh) for _ in kind]
        fields = [
            NestedField(n, f.name, iceberg_type(f.type, fresh), required=False)
            for n, f in zip(numbers, kind, strict=True)
        ]
        return types.StructType(*fields)
    if pa.types.is_map(kind):
        key, value = next(fresh), next(fresh)
        inner = iceberg_type(kind.key_type, fresh), iceberg_type(kind.item_type, fresh)
        return types.MapType(key, inner[0], value, inner[1], value_required=False)
    element = next(fresh)
    return types.ListType(element, iceberg_type(kind.value_type, fresh), element_required=False)


def arrow_type(kind: Any) -> pa.DataType:
    """The stored type of an Iceberg one, field ids in the metadata inside."""
    for made, leaf in LEAVES:
        if isinstance(kind, made):
            return leaf
    if isinstance(kind, types.DecimalType):
        return pa.decimal128(kind.precision, kind.scale)
    if isinstance(kind, types.StructType):
        return pa.struct([_arrow_field(field) for field in kind.fields])
    if isinstance(kind, types.ListType):
        return pa.list_(_arrow_field(kind.element_field))
    if isinstance(kind, types.MapType):
        return pa.map_(_arrow_field(kind.key_field), _arrow_field(kind.value_field))
    raise TerminalSinkError(f"the Iceberg type {kind} is none that Millrace writes")


def _arrow_field(field: Any) -> pa.Field:
    return pa.field(
        field.name, arrow_type(field.field_type), nullable=field.optional, metadata={FIELD_ID: str(field.field_id)}
    )
