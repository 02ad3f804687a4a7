"""What a target stores for each Arrow type, where it lacks the type itself: what several targets have in common.

Each target has a table of its types in its own `types` or `columns`. The stream's own type is kept beside the table, so
`scan` gives back exactly what came in, and growth compares the stream's types, not the stored ones.
"""

from collections.abc import Callable
from typing import Final

import pyarrow as pa

from ....schemas.errors import TerminalSinkError

Leaf = Callable[[pa.DataType], pa.DataType]
MICROSECONDS: Final = pa.timestamp("us")


def plain(kind: pa.DataType) -> pa.DataType:
    """The type of the values: that of a dictionary's, an extension's storage."""
    if pa.types.is_dictionary(kind):
        return plain(kind.value_type)
    return plain(kind.storage_type) if isinstance(kind, pa.BaseExtensionType) else kind


def stored(kind: pa.DataType, leaf: Leaf) -> pa.DataType:
    """The type that holds `kind` in a target, `leaf` applied inside lists, maps and structs."""
    if pa.types.is_dictionary(kind):
        return stored(kind.value_type, leaf)
    if isinstance(kind, pa.BaseExtensionType):
        return stored(kind.storage_type, leaf)
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(field.name, stored(field.type, leaf)) for field in kind])
    if pa.types.is_map(kind):
        return pa.map_(stored(kind.key_type, leaf), stored(kind.item_type, leaf))
    if pa.types.is_large_list(kind) or pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        return pa.list_(stored(kind.value_type, leaf))
    return leaf(kind)


def stored_schema(schema: pa.Schema, leaf: Leaf) -> pa.Schema:
    """All columns nullable, each of the type that holds it."""
    return pa.schema([pa.field(field.name, stored(field.type, leaf)) for field in schema])


def in_microseconds(kind: pa.DataType) -> pa.DataType:
    """For a target whose times and timestamps count microseconds: what is finer is a number of its own unit."""
    if pa.types.is_duration(kind) or kind.equals(pa.time64("ns")):
        return pa.int64()
    if pa.types.is_time(kind):
        return pa.time64("us")
    if pa.types.is_timestamp(kind):
        return pa.int64() if kind.unit == "ns" else pa.timestamp("us", None if kind.tz is None else "UTC")
    if pa.types.is_date64(kind):
        return MICROSECONDS
    return in_any_target(kind)


def in_any_target(kind: pa.DataType) -> pa.DataType:
    """For every target: no decimal above 38 digits, no half-precision, one type of text and one of bytes."""
    if pa.types.is_decimal(kind):
        return pa.string() if kind.precision > 38 else pa.decimal128(kind.precision, kind.scale)
    if pa.types.is_fixed_size_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return pa.binary()
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_float16(kind):
        return pa.float32()
    if pa.types.is_interval(kind):
        raise TerminalSinkError(f"the type {kind} cannot be stored; cast it to a duration or to text at the source")
    return kind


def in_lake(kind: pa.DataType) -> pa.DataType:
    """For a lake that has neither unsigned numbers nor times."""
    if pa.types.is_null(kind):
        return pa.int32()
    if pa.types.is_unsigned_integer(kind):
        return {8: pa.int16(), 16: pa.int32(), 32: pa.int64(), 64: pa.decimal128(20, 0)}[kind.bit_width]
    if pa.types.is_time32(kind):
        return pa.int32()
    if pa.types.is_time64(kind) or pa.types.is_duration(kind):
        return pa.int64()
    if pa.types.is_timestamp(kind):
        return pa.int64() if kind.unit == "ns" else pa.timestamp("us", None if kind.tz is None else "UTC")
    if pa.types.is_date64(kind):
        return MICROSECONDS
    return in_any_target(kind)
