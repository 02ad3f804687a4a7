"""Protobuf as an encoding: Confluent's wire format, and bare data with one message a topic."""

import numpy as np
from google.protobuf.descriptor import Descriptor

from ...errors import JobError
from ...model.message_batch import MessageBatch
from ..columns.jit import frozen
from ..encoding import BARE, BY_ID, NULL, Framed, Keep, WriterSchema
from ..schema_store import SchemaStore, Side
from . import framing
from .decoder import ProtobufDecoder, compile_decoder
from .messages import main_file, message_at, message_named
from .options import ProtobufFraming, ProtobufOptions


class ProtobufEncoding:
    """Keeps the contract of `Encoding`."""

    def __init__(self, options: ProtobufOptions, schemas: SchemaStore | None) -> None:
        if schemas is None:
            raise JobError(
                "format.encoding: protobuf needs schemas: add registry: URL or schemas: FOLDER (of .proto files)"
            )
        self._options, self._schemas = options, schemas

    def frame(self, messages: MessageBatch, side: Side) -> Framed:
        is_key = side == "key"
        at, length = (messages.key_at, messages.key_len) if is_key else (messages.value_at, messages.value_len)
        if self._options.framing is ProtobufFraming.BARE:
            kind = np.where(length < 0, NULL, BARE).astype(np.uint8)
            return Framed(kind, np.zeros(len(at), np.uint64), at, length)
        return framing.frame(frozen(messages.data, np.uint8), at, length)

    def explain(self, message: bytes) -> str:
        return framing.explain(message)

    def decoder(self, schema: WriterSchema, keep: Keep | None) -> ProtobufDecoder:
        return compile_decoder(self._message(schema), keep)

    def newest(self, topic: str, side: Side) -> WriterSchema | None:
        """By its id, else the one file of bare data."""
        if self._options.framing is ProtobufFraming.CONFLUENT:
            number = self._schemas.newest_id(topic, side)
            return None if number is None else WriterSchema(topic, side, BY_ID, number)
        try:
            self._schemas.by_topic(topic, side)
        except JobError:
            return None
        return WriterSchema(topic, side, BARE, 0)

    def _message(self, schema: WriterSchema) -> Descriptor:
        if schema.kind == BARE:
            name = self._options.key_message if schema.side == "key" else self._options.message
            return message_named(main_file(self._schemas.by_topic(schema.topic, schema.side).descriptors), name)
        number, path = framing.id_and_path(schema.number)
        return message_at(main_file(self._schemas.by_id(number).descriptors), path)
