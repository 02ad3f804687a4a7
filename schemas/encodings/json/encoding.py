"""JSON with Kafka Connect's schema in each message, as `JsonConverter` writes it with `schemas.enable=true`."""

import json
from typing import Any, Final

import numpy as np

from ...errors import SchemaError
from ...model.message_batch import MessageBatch
from ..encoding import BAD, BY_FINGERPRINT, NULL, Framed, Keep, WriterSchema
from ..schema_store import SchemaStore, Side
from .decoder import JsonDecoder, frozen
from .embedded import parts
from .options import JsonOptions

MOST_TEXTS: Final = 1_000
"""Schemas whose texts are kept until somebody asks for their decoder."""


class JsonEncoding:
    """Keeps the contract of `Encoding`."""

    def __init__(self, options: JsonOptions, schemas: SchemaStore | None) -> None:
        self._texts: dict[int, bytes] = {}

    def frame(self, messages: MessageBatch, side: Side) -> Framed:
        is_key = side == "key"
        at, length = (messages.key_at, messages.key_len) if is_key else (messages.value_at, messages.value_len)
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
            'not {"schema": ..., "payload": ...}, the JSON of Kafka Connect: the encoding json reads messages with '
            "their schema in them (the converter's schemas.enable=true)"
        )

    def decoder(self, schema: WriterSchema, keep: Keep | None) -> JsonDecoder:
        return JsonDecoder(_parsed(self._texts[schema.number]), keep)


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SchemaError(f"the embedded schema is not JSON: {error}") from None
