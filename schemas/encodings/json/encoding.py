"""JSON as an encoding: Kafka Connect's with its schema in each message, and plain JSON without any."""

import json
from typing import Any, Final

import numpy as np

from ...errors import SchemaError
from ...model.message_batch import MessageBatch
from ..columns.jit import frozen
from ..encoding import BAD, BARE, BY_FINGERPRINT, NULL, ColumnDecoder, Framed, Keep, WriterSchema
from ..schema_store import SchemaStore, Side
from .decoder import JsonDecoder
from .embedded import parts
from .options import JsonFraming, JsonOptions
from .plain import PlainDecoder

MOST_TEXTS: Final = 1_000
"""Schemas whose texts are kept until somebody asks for their decoder."""


class JsonEncoding:
    """Keeps the contract of `Encoding`."""

    def __init__(self, options: JsonOptions, schemas: SchemaStore | None) -> None:
        self._options = options
        self._texts: dict[int, bytes] = {}

    @property
    def infers(self) -> bool:
        """Whether types are found in the messages."""
        return self._options.framing is JsonFraming.PLAIN

    def frame(self, messages: MessageBatch, side: Side) -> Framed:
        is_key = side == "key"
        at, length = (messages.key_at, messages.key_len) if is_key else (messages.value_at, messages.value_len)
        if self.infers:
            kind = np.where(length < 0, NULL, BARE).astype(np.uint8)
            return Framed(kind, np.zeros(len(at), np.uint64), at, length)
        data = frozen(messages.data, np.uint8)
        found = parts(data, frozen(at, np.int64), frozen(length, np.int64))
        whole = found[:, 3] > 0
        kind = np.where(length < 0, NULL, np.where(whole, BY_FINGERPRINT, BAD)).astype(np.uint8)
        numbers, firsts = np.unique(found[whole, 2], return_index=True)
        if len(self._texts) > MOST_TEXTS:
            self._texts.clear()
        for number, row in zip(numbers.astype(np.uint64).tolist(), np.flatnonzero(whole)[firsts], strict=True):
            self._texts[number] = data[found[row, 0] : found[row, 1]].tobytes()
        return Framed(kind, found[:, 2].astype(np.uint64), found[:, 3], found[:, 4] - found[:, 3])

    def explain(self, message: bytes) -> str:
        if not message:
            return "the value is empty: no JSON"
        return (
            'not {"schema": ..., "payload": ...}, the JSON of Kafka Connect with its schema in each message '
            "(the converter's schemas.enable=true); JSON without it is read with format.framing: plain"
        )

    def decoder(self, schema: WriterSchema, keep: Keep | None) -> ColumnDecoder:
        if schema.kind == BARE:
            return PlainDecoder(self._options, keep, schema.expected)
        return JsonDecoder(_parsed(self._texts[schema.number]), keep)


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SchemaError(f"the embedded schema is not JSON: {error}") from None
