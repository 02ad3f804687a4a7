"""Blocks of a scripted log: messages as one Arrow IPC stream, from and to columns."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ....schemas.model.message import Message
from ....schemas.model.message_batch import Headers, MessageBatch
from ...coders import RecordBatchCoder

HEADER: Final = pa.struct([pa.field("name", pa.binary()), pa.field("value", pa.binary())])
SCHEMA: Final = pa.schema(
    [
        pa.field("offset", pa.int64()),
        pa.field("timestamp", pa.int64()),
        pa.field("key", pa.binary()),
        pa.field("value", pa.binary()),
        pa.field("headers", pa.list_(HEADER)),
    ]
)
CODER: Final = RecordBatchCoder()

Places = tuple[NDArray[np.int64], NDArray[np.int64]]


def packed(messages: Sequence[Message]) -> bytes:
    """The messages as an Arrow IPC stream."""
    rows = [
        {
            "offset": message.offset,
            "timestamp": message.timestamp,
            "key": message.key,
            "value": message.value,
            "headers": [{"name": name.encode(), "value": value} for name, value in message.headers],
        }
        for message in messages
    ]
    return CODER.encode(pa.RecordBatch.from_pylist(rows, SCHEMA))


def unpacked(data: bytes) -> pa.RecordBatch:
    """The columns of `SCHEMA` that `packed` wrote."""
    return CODER.decode(data) if data else pa.RecordBatch.from_pylist([], SCHEMA)


def message_batch(topic: str, partition: int, columns: pa.RecordBatch, span: tuple[int, int]) -> MessageBatch:
    """The messages of a block that covers `span`; all bytes stand in one buffer, one column after the other."""
    headers = columns.column("headers")
    pairs = headers.flatten()
    data: list[NDArray[np.uint8]] = []
    key, value, name, header = (
        _places(column, data)
        for column in (columns.column("key"), columns.column("value"), pairs.field("name"), pairs.field("value"))
    )
    counts = np.concatenate(([0], np.cumsum(np.asarray(headers.value_lengths().fill_null(0))))).astype(np.int64)
    return MessageBatch(
        topic=topic,
        partition=partition,
        first=span[0],
        stop=span[1],
        data=np.concatenate(data),
        offset=np.asarray(columns.column("offset")),
        timestamp=np.asarray(columns.column("timestamp")),
        key_at=key[0],
        key_len=key[1],
        value_at=value[0],
        value_len=value[1],
        headers=Headers(counts, *name, *header) if len(pairs) else None,
    )


def _places(column: pa.Array, data: list[NDArray[np.uint8]]) -> Places:
    """Where each value stands once the column's bytes are appended to `data`, and its length, -1 for null."""
    before = sum(len(part) for part in data)
    _, offsets, content = column.buffers()
    at = np.frombuffer(offsets, np.int32, len(column) + 1, column.offset * 4).astype(np.int64)
    data.append(np.frombuffer(content, np.uint8) if content is not None else np.empty(0, np.uint8))
    return before + at[:-1], np.where(np.asarray(column.is_valid()), np.diff(at), -1)
