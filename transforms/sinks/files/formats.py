"""Files of changes: how a table of rows becomes the bytes of one file, and comes back in the stream's own types.

A file says in its metadata which types its columns had (`millrace.columns`, Arrow IPC in Base64) and which topic its
changes are from (`millrace.topic_id`, where it is known), and which version its positions have (`millrace.version`).
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from ....schemas.errors import TerminalSinkError
from ....schemas.model.change import POSITION
from ....schemas.model.modes import OFFSET
from ....schemas.model.stored_format import KEY, POSITIONS
from ....schemas.model.table import conform
from ..shared.types import stored_schema
from .types import in_files

COLUMNS: Final = "millrace.columns"
TOPIC_ID: Final = "millrace.topic_id"


@dataclass(frozen=True, slots=True)
class Content:
    """A file that was read."""

    rows: pa.Table
    topic_id: int | None


class FileFormat(Protocol):
    """Parquet or Avro."""

    ending: str

    def write(self, rows: pa.Table, metadata: Mapping[str, str]) -> pa.Buffer:
        """The file's bytes; the rows have stored types."""

    def read(self, data: pa.Buffer) -> tuple[pa.Table, Mapping[str, str]]:
        """Rows in stored types, and the metadata. Raises pa.ArrowException or ValueError for what is no such file."""


class Parquet:
    """Compressed by Snappy, which every reader knows; row groups of a million rows, with statistics."""

    ending = "parquet"

    def write(self, rows: pa.Table, metadata: Mapping[str, str]) -> pa.Buffer:
        out, repeating = pa.BufferOutputStream(), [name for name in rows.column_names if name not in (POSITION, OFFSET)]
        named = rows.replace_schema_metadata(dict(metadata))
        pq.write_table(named, out, compression="snappy", use_dictionary=repeating)
        return out.getvalue()

    def read(self, data: pa.Buffer) -> tuple[pa.Table, Mapping[str, str]]:
        rows = pq.read_table(pa.BufferReader(data))
        metadata = {name.decode(): text.decode() for name, text in (rows.schema.metadata or {}).items()}
        return rows.replace_schema_metadata(None), metadata


def encode(format: FileFormat, rows: pa.Table, topic_id: int | None) -> pa.Buffer:
    """One file of these rows, which have the stream's own types."""
    schema = stored_schema(rows.schema, in_files)
    metadata = {KEY: str(POSITIONS.newest), COLUMNS: base64.b64encode(rows.schema.serialize().to_pybytes()).decode()}
    if topic_id is not None:
        metadata[TOPIC_ID] = str(topic_id)
    batches = [conform(batch, schema) for batch in rows.to_batches()]
    return format.write(pa.Table.from_batches(batches, schema=schema), metadata)


def decode(format: FileFormat, data: pa.Buffer, place: str) -> Content:
    """The rows in the types that the stream had. Raises TerminalSinkError for what Millrace did not write whole."""
    try:
        rows, metadata = format.read(data)
        POSITIONS.check(metadata[KEY], place)
        schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(metadata[COLUMNS])))
        batches = [conform(batch, schema) for batch in rows.to_batches()]
    except (pa.ArrowException, ValueError, KeyError, EOFError) as error:
        raise TerminalSinkError(
            f"{place} is not a whole file of changes that Millrace wrote ({error}): restore it from a copy, or write "
            "the log anew at another path; what the ledger counts as written is not written again"
        ) from error
    topic_id = metadata.get(TOPIC_ID)
    return Content(pa.Table.from_batches(batches, schema=schema), None if topic_id is None else int(topic_id))
