"""Columns of a BigQuery table: their names and types there, as REST describes them and as protobuf messages.

Names are letters, digits and underscores (a table's also hyphens): any other character is written as `_xHEX_`, the
hexadecimal number of its code point, and so is the first character of a column that begins with a digit or with a word
that BigQuery keeps to itself. Lists and maps are nested as BigQuery itself nests those of a Parquet file, since its
arrays hold no NULL.
"""

import re
from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from google.cloud.bigquery import SchemaField
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto

from ....schemas.errors import IncompatibleSchemaError
from ....schemas.model.table import Table, conform, widened
from ..shared.types import stored
from .types import in_bigquery

KEY_COLUMNS: Final = 16
NAME_CHARACTERS: Final = {"column": 300, "table": 1024}
ODD: Final = {
    "column": re.compile(r"[^A-Za-z0-9_]|_(?=[xX][0-9A-Fa-f]+(?:_|\W|$))", re.ASCII),
    "table": re.compile(r"[^A-Za-z0-9_-]|_(?=[xX][0-9A-Fa-f]+(?:_|\W|$))", re.ASCII),
}
KEPT: Final = re.compile(
    r"\d|_TABLE_|_FILE_|_PARTITION|_ROW_TIMESTAMP|__ROOT__|_COLIDENTIFIER|_CHANGE_|_field_", re.ASCII | re.IGNORECASE
)
FIRST_DAY: Final = -719_162
LAST_DAY: Final = 2_932_896
DAY_MICROS: Final = 86_400_000_000
NUMERIC: Final = pa.decimal128(38, 9)

_NAMES: Final = {
    pa.int64(): ("INTEGER", FieldDescriptorProto.TYPE_INT64),
    pa.float64(): ("FLOAT", FieldDescriptorProto.TYPE_DOUBLE),
    NUMERIC: ("NUMERIC", FieldDescriptorProto.TYPE_STRING),
    pa.decimal256(76, 38): ("BIGNUMERIC", FieldDescriptorProto.TYPE_STRING),
    pa.string(): ("STRING", FieldDescriptorProto.TYPE_STRING),
    pa.binary(): ("BYTES", FieldDescriptorProto.TYPE_BYTES),
    pa.bool_(): ("BOOLEAN", FieldDescriptorProto.TYPE_BOOL),
    pa.date32(): ("DATE", FieldDescriptorProto.TYPE_INT32),
    pa.time64("us"): ("TIME", FieldDescriptorProto.TYPE_INT64),
    pa.timestamp("us"): ("DATETIME", FieldDescriptorProto.TYPE_INT64),
    pa.timestamp("us", "UTC"): ("TIMESTAMP", FieldDescriptorProto.TYPE_INT64),
}
KEY_TYPES: Final = frozenset(
    {"INTEGER", "NUMERIC", "BIGNUMERIC", "STRING", "BYTES", "BOOLEAN", "DATE", "DATETIME", "TIMESTAMP"}
)
CLUSTERED: Final = KEY_TYPES - {"BYTES"}


def bigquery_name(name: str, what: str = "column") -> str:
    """A column's or table's name in BigQuery. Raises IncompatibleSchemaError where it gets too long."""
    escaped = ODD[what].sub(_escaped, name)
    if what == "column" and KEPT.match(escaped):
        escaped = _escaped(re.match(".", escaped)) + escaped[1:]
    if len(escaped) > NAME_CHARACTERS[what]:
        raise IncompatibleSchemaError(
            f"the {what} {name[:80]!r}... has more than the {NAME_CHARACTERS[what]} characters that BigQuery takes"
        )
    return escaped


def _escaped(found: re.Match[str] | None) -> str:
    return f"_x{ord(found[0]):X}_" if found is not None else ""


def columns_in_bigquery(columns: pa.Schema) -> pa.Schema:
    """Names and types as BigQuery has them, in Arrow's lists and maps still; without columns that are always NULL."""
    return pa.schema(
        [
            pa.field(bigquery_name(field.name), stored(field.type, in_bigquery))
            for field in columns
            if not pa.types.is_null(field.type)
        ]
    )


def to_bigquery(batch: pa.RecordBatch, columns: pa.Schema) -> pa.RecordBatch:
    """Columns of the stream as BigQuery stores them. Raises IncompatibleSchemaError for years that it has not."""
    kept = [field for field in columns if not pa.types.is_null(field.type)]
    rows = batch.select([field.name for field in kept])
    rows = conform(rows.rename_columns([bigquery_name(field.name) for field in kept]), columns_in_bigquery(columns))
    for field, column in zip(kept, rows.columns, strict=True):
        _check_years(field.name, column)
    return rows


def from_bigquery(batch: pa.RecordBatch, columns: pa.Schema) -> pa.RecordBatch:
    """Rows that BigQuery sent, in its order of columns, as the stream has them."""
    arrays = []
    for field in columns:
        place = batch.schema.get_field_index(bigquery_name(field.name))
        kind = stored(field.type, in_bigquery)
        arrays.append(pa.nulls(batch.num_rows, kind) if place < 0 else _unwrapped(batch.column(place), kind))
    fields = [pa.field(field.name, array.type) for field, array in zip(columns, arrays, strict=True)]
    return conform(pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields)), columns)


def _unwrapped(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """BigQuery's records of repeated records as Arrow's lists and maps."""
    if not pa.types.is_nested(kind):
        return array.cast(kind)
    parts = dict(zip([field.name for field in array.type], array.flatten(), strict=True))
    mask = array.is_null()
    if pa.types.is_struct(kind):
        children = [
            _unwrapped(parts[bigquery_name(field.name)], field.type)
            if bigquery_name(field.name) in parts
            else pa.nulls(len(array), field.type)
            for field in kind
        ]
        return pa.StructArray.from_arrays(children, fields=list(kind), mask=mask)
    if pa.types.is_map(kind):
        pairs = _unsliced(parts["key_value"])
        keys, items = pairs.values.flatten()
        sides = _unwrapped(keys, kind.key_type), _unwrapped(items, kind.item_type)
        return pa.MapArray.from_arrays(pairs.offsets, *sides, type=kind, mask=mask)
    lists = _unsliced(parts["list"])
    values = _unwrapped(lists.values.flatten()[0], kind.value_type)
    return pa.ListArray.from_arrays(lists.offsets, values, type=kind, mask=mask)


def _unsliced(lists: pa.Array) -> pa.Array:
    """The same lists without a sliced parent's offset, which their parts would not follow."""
    return lists.take(pa.array(np.arange(len(lists)))) if lists.offset else lists


def _check_years(name: str, column: pa.Array) -> None:
    kind = column.type
    if pa.types.is_date32(kind):
        days, first, last = column.cast(pa.int32()), FIRST_DAY, LAST_DAY
    elif pa.types.is_timestamp(kind):
        days, first, last = column.cast(pa.int64()), FIRST_DAY * DAY_MICROS, (LAST_DAY + 1) * DAY_MICROS - 1
    elif pa.types.is_nested(kind):
        parts = column.flatten() if pa.types.is_struct(kind) else _inner(column)
        for part in parts:
            _check_years(name, part)
        return
    else:
        return
    bounds = pc.min_max(days)
    if len(days) > days.null_count and not first <= bounds["min"].as_py() <= bounds["max"].as_py() <= last:
        raise IncompatibleSchemaError(f"column {name!r}: a value lies outside the years 1 to 9999 that BigQuery has")


def _inner(column: pa.Array) -> list[pa.Array]:
    return [column.keys, column.items] if pa.types.is_map(column.type) else [column.values]


def schema_fields(columns: pa.Schema) -> list[SchemaField]:
    """The columns (`columns_in_bigquery`) as REST has them, all nullable."""
    return [_schema_field(field.name, field.type) for field in columns]


def _schema_field(name: str, kind: pa.DataType, mode: str = "NULLABLE") -> SchemaField:
    if not pa.types.is_nested(kind):
        return SchemaField(name, _NAMES[kind][0], mode)
    return SchemaField(name, "RECORD", mode, fields=[_schema_field(*part) for part in _parts(name, kind)])


def message(name: str, columns: pa.Schema) -> DescriptorProto:
    """The protobuf message that `encoding` writes of these columns."""
    return _message(name, [(field.name, field.type, "NULLABLE") for field in columns])


def _message(name: str, parts: Sequence[tuple[str, pa.DataType, str]]) -> DescriptorProto:
    made = DescriptorProto(name=name)
    for number, (part, kind, mode) in enumerate(parts, 1):
        repeated = mode == "REPEATED"
        label = FieldDescriptorProto.LABEL_REPEATED if repeated else FieldDescriptorProto.LABEL_OPTIONAL
        field = made.field.add(name=part, number=number, label=label)
        if pa.types.is_nested(kind):
            field.type, field.type_name = FieldDescriptorProto.TYPE_MESSAGE, f"Field{number}"
            made.nested_type.append(_message(field.type_name, _parts(part, kind)))
        else:
            field.type = _NAMES[kind][1]
    return made


def _parts(name: str, kind: pa.DataType) -> list[tuple[str, pa.DataType, str]]:
    """(name, type, mode) of what stands in a record."""
    if pa.types.is_struct(kind):
        if not kind.num_fields:
            raise IncompatibleSchemaError(f"column {name!r}: BigQuery has no records without fields")
        return [(bigquery_name(field.name), field.type, "NULLABLE") for field in kind]
    if pa.types.is_map(kind):
        return [("key_value", pa.struct([("key", kind.key_type), ("value", kind.item_type)]), "REPEATED")]
    return [("list", pa.struct([("element", kind.value_type)]), "REPEATED")]


def check_table(table: Table) -> None:
    """Refuse keys that BigQuery cannot have. Raises IncompatibleSchemaError."""
    if len(table.key) > KEY_COLUMNS:
        raise IncompatibleSchemaError(
            f"table {table.name}: its key has {len(table.key)} columns, and BigQuery takes {KEY_COLUMNS}; "
            "set a shorter `key` in the job file"
        )
    for name in table.key:
        kind = stored(table.columns.field(name).type, in_bigquery)
        if pa.types.is_nested(kind) or _NAMES[kind][0] not in KEY_TYPES:
            raise IncompatibleSchemaError(
                f"table {table.name}: the key column {name!r} is {table.columns.field(name).type}, which no primary "
                "key of BigQuery may be; set another `key` in the job file"
            )


def clustering(table: Table) -> list[str]:
    """The first four key columns by which BigQuery can sort, so that it finds the rows of a key."""
    columns = columns_in_bigquery(pa.schema([table.columns.field(name) for name in table.key]))
    return [field.name for field in columns if _NAMES[field.type][0] in CLUSTERED][:4]


def check_growth(table: str, old: pa.Schema, new: pa.Schema) -> None:
    """Refuse growth for which BigQuery would have to rewrite values. Raises IncompatibleSchemaError."""
    for field in old:
        kind = new.field(field.name).type
        if not pa.types.is_null(field.type) and not _same(field.type, kind):
            raise IncompatibleSchemaError(
                f"table {table}: column {field.name!r} was {field.type} and is now {kind}, which BigQuery stores in "
                "another way; write to a column of another name or to a new table"
            )


def widened_in_place(old: pa.DataType, new: pa.DataType) -> pa.DataType | None:
    """The type that holds both, where BigQuery stores it as it stores `old`; else None."""
    kind = widened(old, new)
    return kind if kind is not None and (pa.types.is_null(old) or _same(old, kind)) else None


def _same(old: pa.DataType, new: pa.DataType) -> bool:
    if pa.types.is_struct(old) and pa.types.is_struct(new):
        return all(_same(field.type, new.field(field.name).type) for field in old)
    if pa.types.is_map(old) and pa.types.is_map(new):
        return _same(old.key_type, new.key_type) and _same(old.item_type, new.item_type)
    if pa.types.is_nested(old) and pa.types.is_nested(new):
        return _same(old.value_type, new.value_type)
    before, after = stored(old, in_bigquery), stored(new, in_bigquery)
    own_unit = before == pa.int64() and not pa.types.is_integer(old)
    return before.equals(after) and (old.equals(new) or not own_unit)
