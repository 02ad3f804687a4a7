"""A stream's types as BigQuery keeps them."""

import pyarrow as pa

from ..shared.types import in_microseconds


def in_bigquery(kind: pa.DataType) -> pa.DataType:
    """The table of BigQuery above, in the types in which it sends rows."""
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
