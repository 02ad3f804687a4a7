"""Rows of Postgres' binary COPY format to Arrow columns of the stream's own types: the way back of `encode`."""

from typing import Any, Final

import numba
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .....schemas.loops import array, compile_ahead, read_only
from ...shared.json_values import from_json
from ...shared.types import plain
from ..columns import JSONB, is_limited, sql_type, unescape_texts, unit_of
from .encode import EPOCH_DAYS, EPOCH_MICROS, PER_SECOND, Cells, number_dtype
from .numeric import from_numeric

NUMBERS: Final = {
    "smallint": ">i2",
    "integer": ">i4",
    "bigint": ">i8",
    "real": ">f4",
    "double precision": ">f8",
}


def split(data: NDArray[np.uint8], rows: int, columns: int) -> list[Cells]:
    """The cells of each column of `rows` rows that stand one after the other, without signature and end."""
    starts, sizes = np.empty((columns, rows), np.int64), np.empty((columns, rows), np.int64)
    _walk(data, starts, sizes)
    return [Cells(data, starts[number], sizes[number]) for number in range(columns)]


@compile_ahead((read_only(np.uint8), array(np.int64, 2), array(np.int64, 2)))
@numba.njit(cache=True, nogil=True)
def _walk(data, starts, sizes):  # type: ignore[no-untyped-def]
    p = 0
    for row in range(starts.shape[1]):
        p += 2
        for column in range(starts.shape[0]):
            size = 0
            for byte in range(4):
                size = size * 256 + data[p + byte]
            size -= 1 << 32 if size >= 1 << 31 else 0
            p += 4
            starts[column, row], sizes[column, row] = p, size
            p += size if size > 0 else 0


@compile_ahead((read_only(np.uint8), array(np.int64), array(np.int64), array(np.int64), array(np.uint8)))
@numba.njit(cache=True, nogil=True)
def _gather(data, starts, sizes, at, out):  # type: ignore[no-untyped-def]
    for row in range(len(starts)):
        for byte in range(sizes[row]):
            out[at[row] + byte] = data[starts[row] + byte]


def column(kind: pa.DataType, cells: Cells, beyond: Cells | None = None) -> pa.Array:
    """The values of a column of the stream's type `kind`; `beyond` are those of its companion."""
    found = _values(plain(kind), cells, beyond)
    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, found)
    return found if found.type.equals(kind) else found.cast(kind)


def _values(kind: pa.DataType, cells: Cells, beyond: Cells | None) -> pa.Array:
    if pa.types.is_null(kind):
        return pa.nulls(len(cells.sizes))
    if pa.types.is_nested(kind):
        texts = _bytes(pa.large_binary(), cells).to_pylist()
        return from_json([None if text is None else text[1:] for text in texts], kind, JSONB)
    if pa.types.is_decimal(kind) or pa.types.is_uint64(kind):
        return _decimals(kind, cells)
    if is_limited(kind):
        return _moments(kind, cells, beyond)
    if pa.types.is_boolean(kind):
        return _built(pa.uint8(), cells, _fixed(cells, 1)).cast(pa.bool_())
    number = NUMBERS.get(sql_type(kind))
    if number is not None:
        return _numbers(kind, cells, np.dtype(number))
    if pa.types.is_fixed_size_binary(kind):
        return _built(kind, cells, _fixed(cells, kind.byte_width))
    if sql_type(kind) == "text":
        return unescape_texts(_bytes(pa.large_string(), cells)).cast(kind)
    return _bytes(pa.large_binary(), cells).cast(kind)


def _numbers(kind: pa.DataType, cells: Cells, stored: np.dtype[Any]) -> pa.Array:
    values = _fixed(cells, stored.itemsize).view(stored).astype(stored.newbyteorder("="))
    if pa.types.is_floating(kind) or pa.types.is_integer(kind):
        return _built(kind, cells, values.astype(number_dtype(kind)))
    return _built(kind, cells, values)


def _fixed(cells: Cells, width: int) -> NDArray[np.uint8]:
    out = np.zeros(len(cells.sizes) * width, np.uint8)
    _gather(cells.raw, cells.starts, cells.sizes, np.arange(len(cells.sizes)) * width, out)
    return out


def _validity(cells: Cells) -> pa.Buffer | None:
    return None if (cells.sizes >= 0).all() else pa.array(cells.sizes >= 0).buffers()[1]


def _built(kind: pa.DataType, cells: Cells, values: NDArray[Any]) -> pa.Array:
    buffers = [_validity(cells), pa.py_buffer(np.ascontiguousarray(values))]
    return pa.Array.from_buffers(kind, len(cells.sizes), buffers)


def _bytes(kind: pa.DataType, cells: Cells) -> pa.Array:
    """Values of any length, as a large type."""
    offsets = np.concatenate(([0], np.cumsum(np.maximum(cells.sizes, 0))))
    out = np.empty(offsets[-1], np.uint8)
    _gather(cells.raw, cells.starts, cells.sizes, offsets[:-1], out)
    buffers = [_validity(cells), pa.py_buffer(offsets), pa.py_buffer(out)]
    return pa.Array.from_buffers(kind, len(cells.sizes), buffers)


def _decimals(kind: pa.DataType, cells: Cells) -> pa.Array:
    if pa.types.is_uint64(kind):
        limbs = from_numeric(cells.raw, cells.starts, cells.sizes, (2, 0))
        return _built(kind, cells, limbs[:, 0])
    wide = pa.decimal256 if kind.bit_width == 256 else pa.decimal128
    held = wide(kind.precision, kind.scale)
    limbs = from_numeric(cells.raw, cells.starts, cells.sizes, (held.bit_width // 64, kind.scale))
    return _built(held, cells, limbs)


def _moments(kind: pa.DataType, cells: Cells, beyond: Cells | None) -> pa.Array:
    if pa.types.is_date32(kind):
        counts = _fixed(cells, 4).view(">i4").astype(np.int64) + EPOCH_DAYS
    else:
        step = PER_SECOND["us"] // PER_SECOND[unit_of(kind)]
        counts = _fixed(cells, 8).view(">i8").astype(np.int64) // step
        counts += 0 if pa.types.is_time(kind) else EPOCH_MICROS // step
    if beyond is not None:
        exact = _fixed(beyond, 8).view(">i8").astype(np.int64)
        counts = np.where(beyond.sizes >= 0, exact, counts)
    return _built(kind, cells, counts.astype(np.dtype(f"i{kind.bit_width // 8}")))
