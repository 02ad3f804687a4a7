"""A stream's types as DuckDB keeps them."""

import pyarrow as pa

from ..shared.types import anywhere


def in_duckdb(kind: pa.DataType) -> pa.DataType:
    """The middle column of the table above."""
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
    return anywhere(kind)
