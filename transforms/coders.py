"""Record batches as Beam elements: one Arrow IPC stream each, never a row at a time."""

import struct
from typing import Any, Final

import pyarrow as pa
from apache_beam import coders
from apache_beam.coders.typecoders import registry

from ..schemas.model.block import Block


class RecordBatchCoder(coders.Coder):
    """Encodes a `pa.RecordBatch` as an Arrow IPC stream; schema metadata travels with it."""

    def encode(self, value: pa.RecordBatch) -> bytes:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, value.schema) as writer:
            writer.write_batch(value)
        return sink.getvalue().to_pybytes()

    def decode(self, encoded: bytes) -> pa.RecordBatch:
        with pa.ipc.open_stream(pa.py_buffer(encoded)) as reader:
            return reader.read_next_batch()

    def estimate_size(self, value: pa.RecordBatch) -> int:
        return int(value.nbytes)

    def is_deterministic(self) -> bool:
        return False

    def to_type_hint(self) -> Any:
        return pa.RecordBatch


registry.register_coder(pa.RecordBatch, RecordBatchCoder)


_BLOCK_HEAD: Final = struct.Struct(">iqqqHH")


_NO_TIME: Final = -(1 << 63)


class BlockCoder(coders.Coder):
    """A block as its fields and its data, without pickle."""

    def encode(self, value: Block) -> bytes:
        topic = value.topic.encode()
        reached = _NO_TIME if value.reached is None else value.reached
        tail = value.tail.encode()
        head = _BLOCK_HEAD.pack(value.partition, value.first, value.stop, reached, len(topic), len(tail))
        return b"".join((head, topic, tail, value.data))

    def decode(self, encoded: bytes) -> Block:
        partition, first, stop, time, length, tail_length = _BLOCK_HEAD.unpack_from(encoded)
        tail = _BLOCK_HEAD.size + length
        data = tail + tail_length
        place = (encoded[_BLOCK_HEAD.size : tail].decode(), partition, first, stop)
        return Block(*place, encoded[data:], None if time == _NO_TIME else time, encoded[tail:data].decode())

    def estimate_size(self, value: Block) -> int:
        return _BLOCK_HEAD.size + len(value.topic) + len(value.data)

    def is_deterministic(self) -> bool:
        return True

    def to_type_hint(self) -> type[Block]:
        return Block

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))


registry.register_coder(Block, BlockCoder)
