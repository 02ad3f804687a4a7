"""Texts of an answer's values to Arrow columns of the stream's own types: the way back of `encode`."""

from dataclasses import dataclass
from typing import Any, Final

import numba
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .....schemas.loops import array, compile_ahead, read_only
from ....mysql_protocol.packets import count_rows, fill_fields
from ...shared.json_values import from_json
from ...shared.types import plain
from ..columns import JSON, is_bytes, is_limited, is_text
from . import moments

LARGEST: Final = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class Fields:
    """The texts of one column: where each row's begins, and its length, -1 for NULL."""

    data: NDArray[np.uint8]
    at: NDArray[np.int64]
    size: NDArray[np.int64]


def split(answer: bytes, columns: int) -> list[Fields]:
    """The columns of rows that each stand behind their length, as `mysql_protocol.packets.payloads` gives them."""
    data = np.frombuffer(answer, np.uint8)
    rows = count_rows(data)
    at, size = np.empty((columns, rows), np.int64), np.empty((columns, rows), np.int64)
    if not fill_fields(data, at, size):
        raise ValueError("a row of the answer has another number of values")
    return [Fields(data, at[number], size[number]) for number in range(columns)]


@compile_ahead((read_only(np.uint8), array(np.int64), array(np.int64), array(np.int64), array(np.uint8)))
@numba.njit(cache=True, nogil=True)
def _gather(data, starts, sizes, at, out):  # type: ignore[no-untyped-def]
    for row in range(len(starts)):
        for byte in range(sizes[row]):
            out[at[row] + byte] = data[starts[row] + byte]


def column(kind: pa.DataType, fields: Fields, beyond: Fields | None = None) -> pa.Array:
    """The values of a column of the stream's type `kind`; `beyond` are those of its companion."""
    found = _values(plain(kind), fields, beyond)
    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, found)
    return found if found.type.equals(kind) else found.cast(kind)


def _values(kind: pa.DataType, fields: Fields, beyond: Fields | None) -> pa.Array:
    if pa.types.is_null(kind):
        return pa.nulls(len(fields.size))
    if pa.types.is_fixed_size_binary(kind) or is_bytes(kind):
        return _bytes(fields, pa.large_binary()).cast(kind)
    if is_text(kind):
        return _bytes(fields, pa.large_string()).cast(kind)
    texts = _bytes(fields, pa.large_string())
    if pa.types.is_nested(kind):
        return from_json(texts.to_pylist(), kind, JSON)
    texts = texts.cast(pa.string())
    if pa.types.is_decimal(kind):
        return texts.cast(_wide(kind))
    if pa.types.is_floating(kind):
        return _floats(kind, texts, fields, beyond)
    if is_limited(kind):
        numbers = _or_beyond(moments.of_texts(kind, texts), beyond)
        return _built(kind, fields, numbers.astype(np.dtype(f"i{kind.bit_width // 8}")))
    if pa.types.is_boolean(kind):
        return texts.cast(pa.int8()).cast(pa.bool_())
    return texts.cast(kind) if pa.types.is_integer(kind) else texts.cast(pa.int64()).view(kind)


def _wide(kind: pa.DataType) -> pa.DataType:
    made = pa.decimal256 if kind.bit_width == 256 else pa.decimal128
    return made(kind.precision, kind.scale)


def _floats(kind: pa.DataType, texts: pa.Array, fields: Fields, beyond: Fields | None) -> pa.Array:
    """A FLOAT is read as a DOUBLE: rounded once, to itself."""
    values = texts.cast(pa.float64()).fill_null(0.0).to_numpy()
    if beyond is None:
        return _built(kind, fields, _narrow(values, kind))
    exact = _or_beyond(values.view(np.int64), beyond).view(np.float64)
    there = (fields.size >= 0) | (beyond.size >= 0)
    return _of(kind, there, _narrow(exact, kind))


def _narrow(values: NDArray[Any], kind: pa.DataType) -> NDArray[Any]:
    with np.errstate(over="ignore"):
        return values.astype(np.dtype(f"f{kind.bit_width // 8}"))


def _or_beyond(numbers: NDArray[np.int64], beyond: Fields | None) -> NDArray[np.int64]:
    if beyond is None:
        return numbers
    exact = _bytes(beyond, pa.large_string()).cast(pa.int64()).fill_null(0).to_numpy()
    return np.where(beyond.size >= 0, exact, numbers)


def _built(kind: pa.DataType, fields: Fields, values: NDArray[Any]) -> pa.Array:
    return _of(kind, fields.size >= 0, values)


def _of(kind: pa.DataType, there: NDArray[np.bool_], values: NDArray[Any]) -> pa.Array:
    validity = None if there.all() else pa.array(there).buffers()[1]
    return pa.Array.from_buffers(kind, len(there), [validity, pa.py_buffer(np.ascontiguousarray(values))])


def _bytes(fields: Fields, kind: pa.DataType) -> pa.Array:
    """Values of any length, as a large type."""
    offsets = np.concatenate(([0], np.cumsum(np.maximum(fields.size, 0))))
    out = np.empty(offsets[-1], np.uint8)
    _gather(fields.data, fields.at, fields.size, offsets[:-1], out)
    validity = None if (fields.size >= 0).all() else pa.array(fields.size >= 0).buffers()[1]
    return pa.Array.from_buffers(kind, len(fields.size), [validity, pa.py_buffer(offsets), pa.py_buffer(out)])
