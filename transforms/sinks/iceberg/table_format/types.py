"""A stream's types as Iceberg keeps them.

| Arrow                               | Iceberg                              |
|-------------------------------------|--------------------------------------|
| int8 to int32, uint8, uint16, null  | int                                  |
| int64, uint32                       | long                                 |
| uint64                              | decimal(20,0)                        |
| time32, time64[us]                  | time                                 |
| time64[ns], duration, timestamp[ns] | long, in its own unit                |
| timestamp[s, ms, us], date64        | timestamp; with UTC, timestamptz     |
| float16, float32, float64           | float, float, double                 |
| decimal, 38 digits or fewer         | decimal                              |
| decimal, 39 to 76 digits            | string, all digits                   |
| string, binary, bool, date32        | string, binary, boolean, date        |
| fixed_size_binary                   | binary                               |
| list, struct, map                   | list, struct, map of these           |
"""

import pyarrow as pa

from ...shared.types import in_microseconds


def in_iceberg(kind: pa.DataType) -> pa.DataType:
    """The Arrow type that Iceberg stores for `kind`, which holds no list, struct or map."""
    if pa.types.is_null(kind):
        return pa.int32()
    if kind.equals(pa.int32()) or (pa.types.is_integer(kind) and kind.bit_width < 32):
        return pa.int32()
    if pa.types.is_unsigned_integer(kind):
        return pa.int64() if kind.bit_width == 32 else pa.decimal128(20, 0)
    return in_microseconds(kind)
