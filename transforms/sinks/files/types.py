"""A stream's types as change logs keep them."""

import pyarrow as pa

from ....schemas.model.change import POSITION_TYPE
from ..shared.types import in_lake


def in_files(kind: pa.DataType) -> pa.DataType:
    """The type in Parquet and Avro files: as Delta's, but for times, which both formats have."""
    if pa.types.is_time(kind):
        return pa.time32("ms") if pa.types.is_time32(kind) else kind
    if pa.types.is_timestamp(kind):
        return pa.timestamp("ms" if kind.unit == "s" else kind.unit, kind.tz)
    return kind if kind.equals(POSITION_TYPE) else in_lake(kind)
