"""A stream's types as Iceberg keeps them."""

import pyarrow as pa

from ...shared.types import in_microseconds


def in_iceberg(kind: pa.DataType) -> pa.DataType:
    """The table of Iceberg above, as Arrow types."""
    if pa.types.is_null(kind):
        return pa.int32()
    if kind.equals(pa.int32()) or (pa.types.is_integer(kind) and kind.bit_width < 32):
        return pa.int32()
    if pa.types.is_unsigned_integer(kind):
        return pa.int64() if kind.bit_width == 32 else pa.decimal128(20, 0)
    return in_microseconds(kind)
