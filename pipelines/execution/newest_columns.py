"""The columns that a topic's newest schemas give its table: asked of the schemas, the source, or the last messages."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pyarrow as pa

from ...schemas.encodings.encoding import BY_ID, NamesNewest, WriterSchema
from ...schemas.envelopes.topic_columns import TopicColumns, WriterSchemas, columns_of_schemas
from ...schemas.errors import LostOffsetsError
from ...schemas.model.block import Block
from ...schemas.model.change import POSITION, own_columns
from ...schemas.model.incompatible_columns import OnIncompatible
from ...schemas.model.ledger import TopicPartition
from ...schemas.model.position import unpack
from ...schemas.model.route import OnTruncate, Route
from ...schemas.plurals import counted
from ...transforms.sources.database import KnowsTables
from ...transforms.sources.source import BlockReader, SourceConnection
from ...transforms.steps.block_decoders import BlockDecoders

LAST: Final = 200
"""Messages of each partition that are looked at where the schemas come with them."""
PATIENCE_SECONDS: Final = 20.0


@dataclass(frozen=True, slots=True)
class NewestColumns:
    """What was found, in the order in which it would come, and where; nothing where `found` is empty."""

    found: tuple[TopicColumns, ...]
    origin: str


def newest_columns(decoders: BlockDecoders, connection: SourceConnection, topic: str, route: Route) -> NewestColumns:
    """Raises SchemaError, IncompatibleSchemaError, RegistryError, SourceError."""
    if isinstance(connection, KnowsTables):
        return NewestColumns((connection.columns(topic, route),), "the source's catalog")
    encoding, envelope = decoders.encoding, decoders.envelope
    comes = "the schema comes with the messages"
    if isinstance(encoding, NamesNewest) and envelope is not None:
        value, key = encoding.newest(topic, "value"), encoding.newest(topic, "key")
        if value is not None and (key is not None or route.key is not None):
            schemas = WriterSchemas(value, None if route.key is not None else key)
            return NewestColumns((columns_of_schemas(encoding, envelope, route, schemas),), _named(value))
        missing = "value" if value is None else "key"
        comes = f"there is no schema {topic}-{missing}"
    return _of_messages(decoders, connection, topic, route, comes)


def _named(schema: WriterSchema) -> str:
    name = f"schema {schema.topic}-{schema.side}"
    return f"{name}, id {schema.number}" if schema.kind == BY_ID else name


def _of_messages(
    decoders: BlockDecoders, connection: SourceConnection, topic: str, route: Route, comes: str
) -> NewestColumns:
    sources = [source for source in route.sources if source.topic == topic]
    held = connection.offsets(sources)
    found = [one for source in sources if (one := _of_partition(decoders, source, held, route)) is not None]
    told = [one for number, one in enumerate(found) if one not in found[:number]]
    if not told:
        return NewestColumns((), f"{comes}, and no message there says more")
    return NewestColumns(tuple(told), f"{comes}: the last {counted(LAST, 'message')} of each partition")


def _of_partition(
    decoders: BlockDecoders, source: TopicPartition, held: Mapping[TopicPartition, tuple[int, int]], route: Route
) -> TopicColumns | None:
    """The columns of the newest message that has more than a key."""
    low, high = held[source]
    # Nothing of what is read is applied: what its values would do is not asked here.
    route = replace(route, on_truncate=OnTruncate.IGNORE, on_incompatible=OnIncompatible.STOP)
    decode, found = decoders.decoder(source.topic, route), None
    reader = decoders.source.reader(source, max(low, high - LAST), high, PATIENCE_SECONDS)
    try:
        while (block := _next(reader)) is not None:
            done = decode(block)
            batches = [batch for batch in done.changes if batch.num_rows]
            wide = [batch for batch in batches if len(own_columns(batch)) > len(done.key)] or batches
            if wide:
                newest = max(wide, key=_last_offset)
                columns = pa.schema([newest.schema.field(name) for name in own_columns(newest)])
                found = TopicColumns(done.key, columns)
    except LostOffsetsError:
        # Retention was faster: the next messages are as new.
        return found
    finally:
        reader.close()
    return found


def _next(reader: BlockReader) -> Block | None:
    while not reader.done:
        block = reader.read(1.0)
        if block is not None and block.data:
            return block
    return None


def _last_offset(batch: pa.RecordBatch) -> int:
    return int(np.max(unpack(batch.column(POSITION))[:, 3]))
