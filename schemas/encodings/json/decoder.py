"""Decodes payloads that one embedded schema describes: to Avro's bytes by `transcode`, to columns by Avro's decoder."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..avro.decoder import Decoded, compile_decoder
from ..encoding import Keep
from .connect_schema import plan_of
from .errors import CODE_BITS, sentence
from .scalars import BYTES_OF, FLOATS, GOES, LENGTH, TEXT_AT
from .transcode import Rows, Schema, Work, new_work, transcode


@dataclass(frozen=True, slots=True, eq=False)
class DecodedJson:
    """`array` has a row for each payload, null where `errors` is not 0."""

    array: pa.Array
    errors: NDArray[np.int64]
    _own: NDArray[np.int64] = field(repr=False)
    _places: tuple[str, ...] = field(repr=False)
    _avro: Decoded = field(repr=False)

    def message(self, row: int) -> str:
        """What is wrong with the payload of a row whose error is not 0, in one sentence."""
        node, code = divmod(int(self._own[row]), 1 << CODE_BITS)
        return sentence(code, self._places[node]) if code else self._avro.message(row)


class JsonDecoder:
    """Decodes payloads of one embedded schema; safe to use from many threads. Raises SchemaError for a wrong one."""

    def __init__(self, schema: Any, keep: Keep | None) -> None:
        avro, plan = plan_of(schema, keep)
        self._schema = Schema(plan.nodes, plan.fields, plan.names)
        self._places = plan.places
        self._decoder = compile_decoder(avro, None)

    def decode(self, data: NDArray[np.uint8], at: NDArray[np.int64], length: NDArray[np.int64]) -> DecodedJson:
        """Decode `data[at[i] : at[i] + length[i]]` as row i. Raises SchemaError where no column can hold them."""
        data, at, length = frozen(data, np.uint8), frozen(at, np.int64), frozen(length, np.int64)
        rows = Rows(at, length, *(np.zeros(len(at), np.int64) for _ in range(3)))
        size = int(length.sum()) + 64 * len(at) + 1024
        work = new_work(int(length.max(initial=0)) // 2 + 2, len(self._schema.fields), size)
        while not transcode(data, rows, self._schema, work):
            work = _larger(work)
        _write_floats(data, work)
        decoded = self._decoder.decode(work.out, rows.to, rows.size)
        errors = np.where(rows.errors != 0, rows.errors, decoded.errors.astype(np.int64))
        return DecodedJson(_nulled(decoded, rows.errors), errors, rows.errors, self._places, decoded)


def _nulled(decoded: Decoded, own: NDArray[np.int64]) -> pa.Array:
    """Avro's array; only a schema without fields reads a datum of no bytes, which stands for an error here."""
    array, bad = decoded.array, own != 0
    if not (bad & (decoded.errors == 0)).any():
        return array
    rows = np.arange(len(array))
    return array.take(pa.array(rows, mask=bad))


def _larger(work: Work) -> Work:
    """The same work with twice the room for output."""
    out, floats = (np.concatenate([part, np.zeros_like(part)]) for part in (work.out, work.floats))
    return work._replace(out=out, floats=floats)


def _write_floats(data: NDArray[np.uint8], work: Work) -> None:
    """Read all numbers that are floats by their texts, and put their bytes where they go."""
    found = work.floats[: work.counts[FLOATS]]
    for width, kind in ((4, pa.float32()), (8, pa.float64())):
        mine = found[found[:, BYTES_OF] == width]
        if not len(mine):
            continue
        offsets = np.zeros(len(mine) + 1, np.int64)
        np.cumsum(mine[:, LENGTH], out=offsets[1:])
        # By byte of all texts: where it is in the data.
        places = np.arange(offsets[-1]) + np.repeat(mine[:, TEXT_AT] - offsets[:-1], mine[:, LENGTH])
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data[places])]
        texts = pa.Array.from_buffers(pa.large_string(), len(mine), buffers)
        numbers = np.ascontiguousarray(texts.cast(kind)).view(np.uint8).reshape(-1, width)
        work.out[mine[:, GOES, None] + np.arange(width)] = numbers


def frozen(array: NDArray[Any], dtype: type[np.generic]) -> NDArray[Any]:
    """A view that cannot be written to, so that the loops are compiled for one kind of array."""
    view = np.ascontiguousarray(array, dtype).view()
    view.flags.writeable = False
    return view
