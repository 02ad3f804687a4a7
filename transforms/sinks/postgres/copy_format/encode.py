"""Arrow columns to Postgres' binary COPY format (https://www.postgresql.org/docs/15/sql-copy.html#id-1.9.3.55.9.4).

Each column becomes cells: where the bytes of each row lie. One pass a column puts them, with their lengths, where their
rows stand in the output. What Arrow type goes into what type of Postgres is told by `postgres_columns.sql_type`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numba
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .....schemas.loops import array, compile_ahead, read_only
from ...shared.json_values import to_json
from ...shared.types import plain
from ..columns import JSONB, escape_texts, is_limited, unit_of
from .numeric import to_numeric

SIGNATURE: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER: Final = b"\xff\xff"
EPOCH_DAYS: Final = 10_957
EPOCH_MICROS: Final = EPOCH_DAYS * 86_400 * 1_000_000
DAY_MICROS: Final = 86_400 * 1_000_000
DATES: Final = (-2_440_588, 2_145_042_905)
"""First and last day, counted from 1970, that Postgres holds."""
MICROS: Final = (-210_866_803_200_000_000, 9_224_318_015_999_999_999)
PER_SECOND: Final = {"s": 1, "ms": 1_000, "us": 1_000_000}

Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Cells:
    """The bytes of one column: `raw`, the start of each row's and their number, -1 for NULL."""

    raw: NDArray[np.uint8]
    starts: Numbers
    sizes: Numbers


def encode(columns: Sequence[Cells]) -> memoryview:
    """The rows, all of them at once, with the signature and the end of a COPY."""
    rows = len(columns[0].sizes)
    lengths = np.full(rows, 2, np.int64)
    for column in columns:
        lengths += 4 + np.maximum(column.sizes, 0)
    ends = len(SIGNATURE) + np.cumsum(lengths)
    out = np.empty((int(ends[-1]) if rows else len(SIGNATURE)) + len(TRAILER), np.uint8)
    out[: len(SIGNATURE)] = np.frombuffer(SIGNATURE, np.uint8)
    at = ends - lengths
    out[at], out[at + 1] = len(columns) >> 8, len(columns) & 0xFF
    at += 2
    for column in columns:
        _place(out, at, column.raw, column.starts, column.sizes)
    out[-2:] = np.frombuffer(TRAILER, np.uint8)
    return out.data


@compile_ahead(
    (array(np.uint8), array(np.int64), array(np.uint8), array(np.int64), array(np.int64)),
    (array(np.uint8), array(np.int64), read_only(np.uint8), array(np.int64), array(np.int64)),
)
@numba.njit(cache=True, nogil=True)
def _place(out, at, raw, starts, sizes):  # type: ignore[no-untyped-def]
    """Write the column's length and bytes of each row at `at`, and move it past them."""
    for row in range(len(at)):
        p, size, start = at[row], sizes[row], starts[row]
        for byte in range(4):
            out[p + byte] = (size >> (24 - 8 * byte)) & 0xFF
        p += 4
        for byte in range(size):
            out[p + byte] = raw[start + byte]
        at[row] = p + max(size, 0)


def cells(array: pa.Array) -> Cells:
    """A column as Postgres' type of it wants it."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        return cells(array.dictionary_decode())
    if isinstance(kind, pa.BaseExtensionType):
        return cells(array.storage)
    if pa.types.is_nested(kind):
        # jsonb's binary form is its version, 1, and the text.
        return _texts(pc.binary_join_element_wise("\x01", to_json(array, JSONB), ""))
    if pa.types.is_decimal(kind) or pa.types.is_uint64(kind):
        return _numerics(array)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return _texts(escape_texts(array.cast(pa.large_string()) if pa.types.is_string_view(kind) else array))
    if pa.types.is_fixed_size_binary(kind):
        data = _buffer(array, 1, np.uint8, kind.byte_width)
        return _fixed(array, data, kind.byte_width)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return _texts(array)
    return _binary_view(array) if pa.types.is_binary_view(kind) else _scalars(array)


def _binary_view(array: pa.Array) -> Cells:
    return _texts(array.cast(pa.large_binary()))


def _buffer(array: pa.Array, number: int, kind: Any, width: int = 1) -> NDArray[Any]:
    """The array's own part of a buffer of values."""
    data = array.buffers()[number]
    if data is None:
        return np.zeros(len(array) * width, kind)
    size = np.dtype(kind).itemsize * width
    return np.frombuffer(data, kind, len(array) * width, array.offset * size)


def number_dtype(kind: pa.DataType) -> np.dtype[Any]:
    """Numpy's type of an Arrow integer or float; `kind.to_pandas_dtype()` needs pandas, which Millrace does not."""
    letter = "f" if pa.types.is_floating(kind) else "u" if pa.types.is_unsigned_integer(kind) else "i"
    return np.dtype(f"{letter}{kind.bit_width // 8}")


def _fixed(array: pa.Array, raw: NDArray[np.uint8], width: int) -> Cells:
    sizes = np.full(len(array), width, np.int64)
    if array.null_count:
        sizes[array.is_null().to_numpy(zero_copy_only=False)] = -1
    return Cells(raw, np.arange(len(array)) * width, sizes)


def _ordered(array: pa.Array, values: NDArray[Any]) -> Cells:
    """Numbers with the highest byte first."""
    return _fixed(array, values.astype(values.dtype.newbyteorder(">")).view(np.uint8), values.itemsize)


def _texts(array: pa.Array) -> Cells:
    large = pa.types.is_large_string(array.type) or pa.types.is_large_binary(array.type)
    kind: Any = np.int64 if large else np.int32
    _, offsets, data = array.buffers()
    ends = np.frombuffer(offsets, kind, len(array) + 1, array.offset * np.dtype(kind).itemsize).astype(np.int64)
    raw = np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(1, np.uint8)
    sizes = np.diff(ends)
    if array.null_count:
        sizes[array.is_null().to_numpy(zero_copy_only=False)] = -1
    return Cells(raw, ends[:-1], sizes)


def _numerics(array: pa.Array) -> Cells:
    present = array.is_valid().to_numpy(zero_copy_only=False)
    if pa.types.is_uint64(array.type):
        limbs = np.zeros((len(array), 2), np.uint64)
        limbs[:, 0] = _buffer(array, 1, np.uint64)
        return Cells(*to_numeric(limbs, 0, present))
    kind = array.type
    if kind.bit_width < 128:
        array = array.cast(pa.decimal128(kind.precision, kind.scale))
    width = array.type.bit_width // 64
    limbs = _buffer(array, 1, np.uint64, width).reshape(-1, width)
    return Cells(*to_numeric(limbs, kind.scale, present))


def _scalars(array: pa.Array) -> Cells:
    kind = array.type
    if pa.types.is_null(kind):
        return _ordered(array, np.zeros(len(array), np.int32))
    if pa.types.is_boolean(kind):
        return _ordered(array, _buffer(array.cast(pa.uint8()), 1, np.uint8))
    if is_limited(kind):
        return _ordered(array, _moments(array)[0])
    if pa.types.is_float16(kind):
        return _ordered(array, _buffer(array, 1, np.float16).astype(np.float32))
    if pa.types.is_floating(kind):
        return _ordered(array, _buffer(array, 1, np.dtype(f"f{kind.bit_width // 8}")))
    if pa.types.is_unsigned_integer(kind) or pa.types.is_int8(kind):
        wide = {8: np.int16, 16: np.int32, 32: np.int64}[kind.bit_width]
        return _ordered(array, _buffer(array, 1, number_dtype(kind)).astype(wide))
    return _ordered(array, _buffer(array, 1, np.dtype(f"i{kind.bit_width // 8}")))


def _moments(array: pa.Array) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Dates, times and timestamps as Postgres counts them, and the rows that are beyond its range."""
    kind = array.type
    counts = _buffer(array, 1, np.dtype(f"i{kind.bit_width // 8}")).astype(np.int64)
    if pa.types.is_date32(kind):
        low, high = counts < DATES[0], counts > DATES[1]
        held = np.where(low, -(1 << 31), np.where(high, (1 << 31) - 1, counts - EPOCH_DAYS)).astype(np.int32)
    else:
        step = PER_SECOND["us"] // PER_SECOND[unit_of(kind)]
        clock = pa.types.is_time(kind)
        first, last = (0, DAY_MICROS) if clock else MICROS
        low, high = counts < -(-first // step), counts > min(last // step, (1 << 63) - 1)
        inside = (np.where(low | high, 0, counts) - (0 if clock else EPOCH_MICROS // step)) * step
        least, most = (0, DAY_MICROS) if clock else (-(1 << 63), (1 << 63) - 1)
        held = np.where(low, least, np.where(high, most, inside))
    beyond = (low | high) & array.is_valid().to_numpy(zero_copy_only=False)
    return held, beyond if beyond.any() else None


def beyond(array: pa.Array) -> pa.Array | None:
    """The values that Postgres' type cannot hold, as int64 in the type's own unit; None where there are none."""
    if pa.types.is_dictionary(array.type):
        return beyond(array.dictionary_decode())
    if isinstance(array.type, pa.BaseExtensionType):
        return beyond(array.storage)
    if not len(array) or not is_limited(plain(array.type)):
        return None
    mask = _moments(array)[1]
    if mask is None:
        return None
    counts = _buffer(array, 1, np.dtype(f"i{array.type.bit_width // 8}")).astype(np.int64)
    return pa.array(counts, mask=~mask)
