"""Avro as an encoding: Confluent's wire format, single-object encoding, and bare data with one schema a topic."""

from typing import Any

from ...errors import JobError
from ...model.message_batch import MessageBatch
from ..encoding import BARE, BY_ID, Framed, Keep, WriterSchema
from ..schema_store import SchemaStore, Side
from .decoder import AvroDecoder, compile_decoder
from .framing import explain, frame
from .options import AvroOptions


class AvroEncoding:
    """Keeps the contract of `Encoding`."""

    def __init__(self, options: AvroOptions, schemas: SchemaStore | None) -> None:
        if schemas is None:
            raise JobError("format.encoding: avro needs schemas: add registry: URL or schemas: FOLDER (of .avsc files)")
        self.framing, self._schemas = options.framing, schemas

    def frame(self, messages: MessageBatch, side: Side) -> Framed:
        if side == "key":
            return frame(messages.data, messages.key_at, messages.key_len, self.framing)
        return frame(messages.data, messages.value_at, messages.value_len, self.framing)

    def explain(self, message: bytes) -> str:
        return explain(message)

    def decoder(self, schema: WriterSchema, keep: Keep | None) -> AvroDecoder:
        return compile_decoder(self._schema(schema), keep)

    def newest(self, topic: str, side: Side) -> WriterSchema | None:
        """By its id, else the one fixed schema of bare data."""
        number = None if self.framing == "bare" else self._schemas.newest_id(topic, side)
        if number is not None:
            return WriterSchema(topic, side, BY_ID, number)
        try:
            self._schemas.by_topic(topic, side)
        except JobError:
            return None
        return WriterSchema(topic, side, BARE, 0)

    def _schema(self, schema: WriterSchema) -> Any:
        if schema.kind == BY_ID:
            return self._schemas.by_id(schema.number)
        if schema.kind == BARE:
            return self._schemas.by_topic(schema.topic, schema.side)
        return self._schemas.by_fingerprint(schema.number.to_bytes(8, "little"))
