"""What columns a topic's schemas give its table: known before a message of theirs is read."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ..encodings.encoding import ColumnDecoder, Encoding, WriterSchema
from ..encodings.message_reader import as_struct
from ..errors import SchemaError
from ..model.representable import represented, represented_key
from ..model.route import Route
from .envelope import Envelope, fields_of
from .key_columns import KEYLESS, fitted, refuse_own_names


@dataclass(frozen=True, slots=True)
class TopicColumns:
    """The row's columns, of the stream's own types, and the names of those of its key."""

    key: tuple[str, ...]
    columns: pa.Schema


@dataclass(frozen=True, slots=True)
class WriterSchemas:
    """The schemas of a topic's values and keys; without `key`, messages have none or the job file names the columns."""

    value: WriterSchema
    key: WriterSchema | None = None


def columns_of_schemas(encoding: Encoding, envelope: Envelope, route: Route, schemas: WriterSchemas) -> TopicColumns:
    """As the decoder makes them. Raises SchemaError, UnknownSchemaError, IncompatibleSchemaError, RegistryError."""
    value = _one_null(encoding.decoder(schemas.value, lambda path: envelope.keep(path, route)))
    row = envelope.events(value, route).row
    key = None if schemas.key is None else _one_null(encoding.decoder(schemas.key, None))
    found = columns_of_row(row, key, route, schemas.value.topic)
    columns, _ = envelope.blank_unavailable({field.name: pa.nulls(1, field.type) for field in found.columns})
    return TopicColumns(found.key, pa.schema([(name, array.type) for name, array in columns.items()]))


def columns_of_row(row: pa.StructArray, key: pa.StructArray | None, route: Route, topic: str) -> TopicColumns:
    """The columns of a row, and of its key, both of NULLs. Raises SchemaError, IncompatibleSchemaError."""
    policy = route.on_unrepresentable
    columns = fields_of(represented(row, policy).struct)
    refuse_own_names(route.table, columns)
    names = route.key or (() if key is None else tuple(key.type.names))
    if not names:
        raise SchemaError(KEYLESS.format(topic=topic))
    if route.key is not None:
        missing = [name for name in route.key if name not in columns]
        if missing:
            raise SchemaError(f"no column {', '.join(missing)}, which the job file names as key")
        key = pa.StructArray.from_arrays([row.field(name) for name in names], list(names))
    for name, array in fields_of(represented_key(key, policy).struct).items():
        columns[name] = array if route.key is not None else fitted(array, columns.get(name))[0]
    return TopicColumns(names, pa.schema([(name, array.type) for name, array in columns.items()]))


def _one_null(decoder: ColumnDecoder) -> pa.StructArray:
    """One row of NULLs as the decoder gives them."""
    nothing = np.empty(0, np.int64)
    kind = decoder.decode(np.empty(0, np.uint8), nothing, nothing).array.type
    return as_struct(pa.nulls(1, kind))
