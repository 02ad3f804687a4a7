"""Changes: one Arrow record batch of one table, a row a change.

Columns: the row's own, in the stream's order, then Millrace's:

    _millrace_op           int8                    UPSERT or DELETE
    _millrace_position     fixed_size_binary(24)   source order; bytes compare as the source orders
    _millrace_source       int32                   number of the topic partition, -1 where it is not accounted
    _millrace_unavailable  list<string>, may be absent or null: columns whose value the source did not send
    _millrace_moved        binary, may be absent or null: the other key of a key change, as canonical key bytes
"""

from typing import Final

import pyarrow as pa

PREFIX: Final = "_millrace_"
OP: Final = "_millrace_op"
POSITION: Final = "_millrace_position"
SOURCE: Final = "_millrace_source"
UNAVAILABLE: Final = "_millrace_unavailable"
MOVED: Final = "_millrace_moved"

UPSERT: Final = 0
DELETE: Final = 1

POSITION_TYPE: Final = pa.binary(24)
CHANGE_FIELDS: Final = (
    pa.field(OP, pa.int8(), nullable=False),
    pa.field(POSITION, POSITION_TYPE, nullable=False),
    pa.field(SOURCE, pa.int32(), nullable=False),
)
UNAVAILABLE_TYPE: Final = pa.list_(pa.string())
MOVED_TYPE: Final = pa.binary()


def row_schema(schema: pa.Schema) -> pa.Schema:
    """The schema without Millrace's own columns."""
    return pa.schema([field for field in schema if not field.name.startswith(PREFIX)])
