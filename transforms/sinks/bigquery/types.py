"""A stream's types as BigQuery keeps them.

| Arrow                                   | BigQuery                                                        |
|-----------------------------------------|-----------------------------------------------------------------|
| int8 to int64, uint8 to uint32          | INTEGER                                                         |
| uint64                                  | NUMERIC                                                         |
| float16 to float64                      | FLOAT                                                           |
| decimal, 29 digits before and 9 behind  | NUMERIC                                                         |
| decimal, 38 digits before and 38 behind | BIGNUMERIC                                                      |
| decimal with more than that             | STRING, all digits                                              |
| string, binary, bool                    | STRING, BYTES, BOOLEAN                                          |
| fixed_size_binary                       | BYTES                                                           |
| date32                                  | DATE, years 1 to 9999                                           |
| time32, time64[us]                      | TIME                                                            |
| time64[ns], duration                    | INTEGER, in its own unit                                        |
| timestamp[s, ms, us]                    | DATETIME, years 1 to 9999                                       |
| timestamp[s, ms, us], UTC               | TIMESTAMP, years 1 to 9999                                      |
| timestamp[ns], with or without UTC      | INTEGER, nanoseconds                                            |
| struct                                  | RECORD of these                                                 |
| list                                    | RECORD with `list`, repeated, of `element`: arrays hold no NULL |
| map                                     | RECORD with `key_value`, repeated, of `key` and `value`         |
| null                                    | no column until it has a type; INTEGER inside others            |
"""

import pyarrow as pa

from ..shared.types import in_microseconds


def in_bigquery(kind: pa.DataType) -> pa.DataType:
    """The Arrow type in which BigQuery sends rows of `kind`, which holds no list, struct or map."""
    if pa.types.is_null(kind) or pa.types.is_integer(kind):
        return pa.decimal128(38, 9) if kind == pa.uint64() else pa.int64()
    if pa.types.is_floating(kind):
        return pa.float64()
    if pa.types.is_decimal(kind):
        return _numeric(kind)
    return in_microseconds(kind)


def _numeric(kind: pa.DataType) -> pa.DataType:
    before = kind.precision - kind.scale
    if before <= 29 and 0 <= kind.scale <= 9:
        return pa.decimal128(38, 9)
    return pa.decimal256(76, 38) if before <= 38 and 0 <= kind.scale <= 38 else pa.string()
