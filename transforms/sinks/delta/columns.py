"""Columns of a Delta table: their names and types there, and the stream's own, which each field's metadata keeps.

Delta readers refuse some characters in column names, and object stores in paths: these are written as `~XX`, the
hexadecimal bytes of their UTF-8. `millrace.field` holds the stream's field (Arrow IPC in Base64), `millrace.key` the
place of a key column in the key, `millrace.version` the version of the positions.
"""

import base64
import re
from collections.abc import Iterator
from typing import Final

import pyarrow as pa

from ....schemas.model import stored_format
from ....schemas.model.change import POSITION
from ....schemas.model.table import Table, conform
from ..shared.names import escaped
from ..shared.types import stored
from .types import in_delta

FIELD: Final = b"millrace.field"
KEY: Final = b"millrace.key"
VERSION: Final = stored_format.KEY.encode()
POSITION_FIELD: Final = pa.field(POSITION, pa.binary(), metadata={VERSION: str(stored_format.POSITIONS.newest)})
NO_COLUMN: Final = re.compile(r"[ ,;{}()\n\t=`\"~]")


def column_name(name: str) -> str:
    """A column's name in the Delta table."""
    return NO_COLUMN.sub(escaped, name)


def delta_schema(table: Table) -> pa.Schema:
    """The user's columns as Delta stores them, with the metadata that `read_table` needs."""
    fields = []
    for field in table.columns:
        metadata = {FIELD: base64.b64encode(pa.schema([field.remove_metadata()]).serialize().to_pybytes())}
        if field.name in table.key:
            metadata[KEY] = str(table.key.index(field.name)).encode()
        fields.append(pa.field(column_name(field.name), stored(field.type, in_delta), metadata=metadata))
    return pa.schema(fields)


def read_table(name: str, schema: pa.Schema) -> Table | None:
    """The table as the stream has it; None for one that holds a ledger only, or that Millrace did not make."""
    fields, key = [], {}
    for stored_field in schema:
        metadata = stored_field.metadata or {}
        if FIELD in metadata:
            field = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(metadata[FIELD]))).field(0)
            fields.append(field)
            if KEY in metadata:
                key[int(metadata[KEY])] = field.name
    return Table(name, tuple(key[place] for place in sorted(key)), pa.schema(fields)) if fields else None


def to_delta(columns: pa.Schema, batch: pa.RecordBatch) -> pa.RecordBatch:
    """The user's columns renamed and converted; Millrace's, which follow, as they are (the position as binary)."""
    fields = [pa.field(column_name(field.name), stored(field.type, in_delta)) for field in columns]
    rest = [POSITION_FIELD if field.name == POSITION else field for field in list(batch.schema)[len(columns) :]]
    renamed = batch.rename_columns([column_name(field.name) for field in columns] + [field.name for field in rest])
    return conform(renamed, pa.schema([*fields, *rest]))


def from_delta(columns: pa.Schema, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Batches of exactly these columns, in the stream's names and types."""
    for batch in batches:
        yield conform(batch.rename_columns(columns.names), columns)
