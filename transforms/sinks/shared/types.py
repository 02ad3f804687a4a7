"""What a target stores for each Arrow type, where it lacks the type itself.

| Arrow                         | DuckDB                              | Delta Lake                          |
|-------------------------------|-------------------------------------|-------------------------------------|
| int8 to int64, float32/64     | TINYINT to BIGINT, FLOAT, DOUBLE    | byte to long, float, double         |
| uint8, uint16, uint32, uint64 | UTINYINT to UBIGINT                 | short, integer, long, decimal(20,0) |
| float16                       | FLOAT                               | float                               |
| decimal, 38 digits or fewer   | DECIMAL                             | decimal                             |
| decimal, 39 to 76 digits      | VARCHAR, all digits                 | string, all digits                  |
| string, binary, bool, date32  | VARCHAR, BLOB, BOOLEAN, DATE        | string, binary, boolean, date       |
| fixed_size_binary             | BLOB                                | binary                              |
| time32, time64[us]            | TIME                                | long, in its own unit               |
| time64[ns], duration          | BIGINT, in its own unit             | long, in its own unit               |
| timestamp[s, ms]              | TIMESTAMP_S, TIMESTAMP_MS           | timestamp_ntz                       |
| timestamp[us]                 | TIMESTAMP                           | timestamp_ntz                       |
| timestamp[s, ms, us], UTC     | TIMESTAMP WITH TIME ZONE            | timestamp                           |
| timestamp[ns]                 | TIMESTAMP_NS                        | long, nanoseconds                   |
| timestamp[ns], UTC            | TIMESTAMP_NS, in UTC                | long, nanoseconds                   |
| list, struct, map             | LIST, STRUCT, MAP of these          | array, struct, map of these         |
| null                          | INTEGER                             | integer                             |

| Arrow                             | Postgres                          |
|-----------------------------------|-----------------------------------|
| int8 to int64, float32/64         | smallint to bigint, real, double  |
| uint8, uint16, uint32, uint64     | smallint to bigint, numeric(20,0) |
| float16                           | real                              |
| decimal                           | numeric                           |
| string, binary, bool, date32      | text, bytea, boolean, date        |
| fixed_size_binary                 | bytea                             |
| time32, time64[us]                | time                              |
| time64[ns], duration              | bigint, in its own unit           |
| timestamp[s, ms, us], without UTC | timestamp                         |
| timestamp[s, ms, us], UTC         | timestamptz                       |
| timestamp[ns], with or without    | bigint, nanoseconds               |
| list, struct, map                 | jsonb (`postgres_json` tells how) |
| null                              | integer                           |

What is beyond Postgres' range of dates and times, and a NUL in text, is kept as `postgres_columns` tells.

| Arrow                                  | Iceberg                                              |
|----------------------------------------|------------------------------------------------------|
| int8 to int32, uint8, uint16, null     | int                                                  |
| int64, uint32                          | long                                                 |
| uint64                                 | decimal(20,0)                                        |
| time32, time64[us]                     | time                                                 |
| time64[ns], duration, timestamp[ns]    | long, in its own unit                                |
| timestamp[s, ms, us], date64           | timestamp; with UTC, timestamptz                     |
| float16; fixed_size_binary             | float; binary                                        |
| all others                             | as in Delta Lake                                     |

| Arrow                                     | BigQuery                                                            |
|-------------------------------------------|---------------------------------------------------------------------|
| int8 to int64, uint8 to uint32            | INTEGER                                                             |
| uint64                                    | NUMERIC                                                             |
| float16 to float64                        | FLOAT                                                               |
| decimal, 29 digits before and 9 behind    | NUMERIC                                                             |
| decimal, 38 digits before and 38 behind   | BIGNUMERIC                                                          |
| decimal with more than that               | STRING, all digits                                                  |
| string, binary, bool                      | STRING, BYTES, BOOLEAN                                              |
| fixed_size_binary                         | BYTES                                                               |
| date32                                    | DATE, years 1 to 9999                                               |
| time32, time64[us]                        | TIME                                                                |
| time64[ns], duration                      | INTEGER, in its own unit                                            |
| timestamp[s, ms, us]                      | DATETIME, years 1 to 9999                                           |
| timestamp[s, ms, us], UTC                 | TIMESTAMP, years 1 to 9999                                          |
| timestamp[ns], with or without UTC        | INTEGER, nanoseconds                                                |
| struct                                    | RECORD of these                                                     |
| list                                      | RECORD with `list`, repeated, of `element`: arrays hold no NULL     |
| map                                       | RECORD with `key_value`, repeated, of `key` and `value`             |
| null                                      | no column until it has a type; INTEGER inside others                |

The stream's own type is kept beside the table, so `scan` gives back exactly what came in, and growth compares the
stream's types, not the stored ones.
"""

from collections.abc import Callable
from typing import Final

import pyarrow as pa

from ....schemas.errors import TerminalSinkError

Leaf = Callable[[pa.DataType], pa.DataType]
MICROSECONDS: Final = pa.timestamp("us")


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
    if pa.types.is_duration(kind) or kind.equals(pa.time64("ns")):
        return pa.int64()
    if pa.types.is_time(kind):
        return pa.time64("us")
    if pa.types.is_timestamp(kind):
        return pa.int64() if kind.unit == "ns" else pa.timestamp("us", None if kind.tz is None else "UTC")
    if pa.types.is_date64(kind):
        return MICROSECONDS
    return anywhere(kind)


def anywhere(kind: pa.DataType) -> pa.DataType:
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
    """The column of Delta Lake above: what a lake without unsigned numbers and times holds."""
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
    return anywhere(kind)
