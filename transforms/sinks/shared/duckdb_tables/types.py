"""A stream's types as DuckDB keeps them.

| Arrow                         | DuckDB                           |
|-------------------------------|----------------------------------|
| int8 to int64, float32/64     | TINYINT to BIGINT, FLOAT, DOUBLE |
| uint8, uint16, uint32, uint64 | UTINYINT to UBIGINT              |
| float16                       | FLOAT                            |
| decimal, 38 digits or fewer   | DECIMAL                          |
| decimal, 39 to 76 digits      | VARCHAR, all digits              |
| string, binary, bool, date32  | VARCHAR, BLOB, BOOLEAN, DATE     |
| fixed_size_binary             | BLOB                             |
| time32, time64[us]            | TIME                             |
| time64[ns], duration          | BIGINT, in its own unit          |
| timestamp[s, ms]              | TIMESTAMP_S, TIMESTAMP_MS        |
| timestamp[us]                 | TIMESTAMP                        |
| timestamp[s, ms, us], UTC     | TIMESTAMP WITH TIME ZONE         |
| timestamp[ns]                 | TIMESTAMP_NS                     |
| timestamp[ns], UTC            | TIMESTAMP_NS, in UTC             |
| list, struct, map             | LIST, STRUCT, MAP of these       |
| null                          | INTEGER                          |
"""

import pyarrow as pa

from ..types import in_any_target


def in_duckdb(kind: pa.DataType) -> pa.DataType:
    """The Arrow type that DuckDB stores for `kind`, which holds no list, struct or map."""
    if pa.types.is_null(kind):
        return pa.int32()
    if pa.types.is_duration(kind) or kind.equals(pa.time64("ns")):
        return pa.int64()
    if pa.types.is_time(kind):
        return pa.time64("us")
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        return pa.timestamp("ns") if kind.unit == "ns" else pa.timestamp("us", "UTC")
    if pa.types.is_date64(kind):
        return pa.timestamp("ms")
    return in_any_target(kind)
