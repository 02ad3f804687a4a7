"""An encoding of texts: `name=value` pairs with a semicolon between them, such as `sign=+;id=1;name=a`."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from millrace.schemas.encodings.encoding import BARE, NULL, Framed, Keep, WriterSchema
from millrace.schemas.encodings.schema_store import SchemaStore, Side
from millrace.schemas.model.message_batch import MessageBatch
from millrace.schemas.options import Options

FIELDS = ("sign", "id", "name")


class PairsEncoding:
    """Keeps the contract of an encoding."""

    def __init__(self, options: Options, schemas: SchemaStore | None) -> None:
        """There are no options, and no schemas."""

    def frame(self, messages: MessageBatch, side: Side) -> Framed:
        at, length = (messages.key_at, messages.key_len) if side == "key" else (messages.value_at, messages.value_len)
        kind = np.where(length < 0, NULL, BARE).astype(np.uint8)
        return Framed(kind, np.zeros(len(at), np.uint64), at, length)

    def explain(self, message: bytes) -> str:
        return "every message is framed"

    def decoder(self, schema: WriterSchema, keep: Keep | None) -> "PairsDecoder":
        return PairsDecoder()


class PairsDecoder:
    def decode(self, data: np.ndarray, at: np.ndarray, length: np.ndarray) -> "Pairs":
        texts = [data[start : start + size].tobytes() for start, size in zip(at, length, strict=True)]
        rows = [_row(text) for text in texts]
        kind = pa.struct([("sign", pa.string()), ("id", pa.int64()), ("name", pa.string())])
        return Pairs(pa.array(rows, kind), np.array([row is None for row in rows], np.int32))


@dataclass(frozen=True)
class Pairs:
    array: pa.Array
    errors: np.ndarray

    def message(self, row: int) -> str:
        return "not written as sign=+;id=1;name=a"


def _row(text: bytes) -> dict[str, object] | None:
    try:
        found = dict(pair.split("=", 1) for pair in text.decode().split(";"))
        return {**found, "id": int(found["id"])} if tuple(found) == FIELDS else None
    except (KeyError, ValueError):
        return None
