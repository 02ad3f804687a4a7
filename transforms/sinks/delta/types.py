"""A stream's types as Delta Lake keeps them."""

import pyarrow as pa

from ..shared.types import in_lake


def in_delta(kind: pa.DataType) -> pa.DataType:
    """The column of Delta Lake in the table of `sinks.shared.types`."""
    return in_lake(kind)
