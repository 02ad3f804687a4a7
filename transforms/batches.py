"""Record batches as Beam elements: one Arrow IPC stream each, never a row at a time."""

from typing import Any

import pyarrow as pa
from apache_beam import coders
from apache_beam.coders.typecoders import registry


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
