"""Arrow columns to Avro's binary encoding, a column at a time.

Every value is a union of null and its type, so each begins with one byte: 0 for null, 2 for a value. An encoded column
is its values' bytes one after the other, and where each begins. Source of the encoding: the Avro specification, 1.12.
"""

from dataclasses import dataclass

import numba
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ....schemas.loops import array, compile_ahead, read_only

Bytes = NDArray[np.uint8]
Offsets = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Encoded:
    """Values as bytes: value i is data[offsets[i]:offsets[i + 1]]."""

    data: Bytes
    offsets: Offsets

    def __len__(self) -> int:
        return len(self.offsets) - 1


def encode_rows(batch: pa.RecordBatch) -> Encoded:
    """Each row as a record of all columns. Raises ValueError for a type that Avro files do not hold."""
    return _joined([encode(column) for column in batch.columns], np.ones(batch.num_rows, np.bool_), tagged=False)


def encode(array: pa.Array) -> Encoded:
    """Each value as a union with null."""
    kind, valid = array.type, np.asarray(array.is_valid())
    if pa.types.is_struct(kind):
        return _joined([encode(array.field(number)) for number in range(kind.num_fields)], valid, tagged=True)
    if pa.types.is_map(kind):
        pairs = _joined([encode(array.keys), encode(array.items)], np.ones(len(array.keys), np.bool_), tagged=True)
        return _listed(array, pairs, valid)
    if pa.types.is_list(kind):
        return _listed(array, encode(array.values), valid)
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        return Encoded(*_texts(*_bytes_of(array), valid))
    if pa.types.is_boolean(kind):
        return _fixed(np.asarray(array.cast(pa.uint8()).fill_null(0)), 1, valid)
    if pa.types.is_floating(kind) or pa.types.is_fixed_size_binary(kind):
        return _fixed(_raw(array), kind.bit_width // 8, valid)
    if pa.types.is_decimal128(kind):
        # Arrow has decimals little-endian, Avro big-endian.
        return _fixed(_raw(array).reshape(-1, 16)[:, ::-1].ravel(), 16, valid)
    times = (pa.types.is_date32(kind), pa.types.is_time(kind), pa.types.is_timestamp(kind))
    if pa.types.is_integer(kind) or any(times):
        width = pa.int32() if kind.bit_width == 32 and not pa.types.is_integer(kind) else pa.int64()
        numbers = array.cast(width) if pa.types.is_integer(kind) else array.view(width)
        return Encoded(*_longs(np.asarray(pc.fill_null(numbers, 0)).astype(np.int64), valid))
    raise ValueError(f"{kind} cannot be encoded in Avro")


def _raw(array: pa.Array) -> Bytes:
    """The bytes of an array of fixed width, without those before a slice."""
    width = array.type.bit_width // 8
    buffer = array.buffers()[1]
    return np.frombuffer(buffer, np.uint8, len(array) * width, array.offset * width) if len(array) else _NOTHING


def _bytes_of(array: pa.Array) -> tuple[Bytes, Offsets]:
    """The bytes of an array of text or binary, and the n + 1 borders of its values in them."""
    _, offsets, data = array.buffers()
    if not len(array):
        return _NOTHING, np.zeros(1, np.int64)
    borders = np.frombuffer(offsets, np.int32, len(array) + 1, array.offset * 4).astype(np.int64)
    return (np.frombuffer(data, np.uint8) if data is not None and data.size else _NOTHING), borders


def _fixed(raw: Bytes, width: int, valid: Mask) -> Encoded:
    return Encoded(*_widths(np.ascontiguousarray(raw), width, valid))


def _listed(array: pa.Array, items: Encoded, valid: Mask) -> Encoded:
    borders = np.asarray(array.offsets).astype(np.int64) if len(array) else np.zeros(1, np.int64)
    return Encoded(*_lists(items.data, items.offsets, borders, valid))


def _joined(columns: list[Encoded], valid: Mask, tagged: bool) -> Encoded:
    """The columns' values side by side, row by row; with a byte before them where `tagged`."""
    sizes = np.zeros(len(valid), np.int64)
    for column in columns:
        sizes += np.diff(column.offsets)
    sizes = np.where(valid, sizes, 0) + tagged
    offsets = np.concatenate(([0], np.cumsum(sizes)))
    out = np.empty(offsets[-1], np.uint8)
    if tagged:
        out[offsets[:-1]] = np.where(valid, 2, 0)
    # `at` is by row where the next column's value goes; `_place` moves it on.
    at = offsets[:-1] + tagged
    for column in columns:
        _place(out, at, column.data, column.offsets, valid)
    return Encoded(out, offsets)


_NOTHING = np.empty(0, np.uint8)


@compile_ahead((array(np.uint8), array(np.int64), array(np.uint8), array(np.int64), array(np.bool_)))
@numba.njit(cache=True, nogil=True)
def _place(out, at, data, offsets, valid):  # type: ignore[no-untyped-def]
    """Copy value i of `data` to `out[at[i]:]`, and move `at[i]` past it."""
    for i in range(len(valid)):
        if valid[i]:
            size = offsets[i + 1] - offsets[i]
            for j in range(size):
                out[at[i] + j] = data[offsets[i] + j]
            at[i] += size


@numba.njit(cache=True, nogil=True)
def _varint(out, at, number):  # type: ignore[no-untyped-def]
    """Write a zigzag varint; the place after it."""
    left = np.uint64((number << 1) ^ (number >> 63))
    while left > 127:
        out[at] = np.uint8(left & np.uint64(127)) | np.uint8(128)
        left >>= np.uint64(7)
        at += 1
    out[at] = np.uint8(left)
    return at + 1


# The loops below write all values of a column into room for the longest, and return the bytes used, with the n + 1
# offsets of the rows in them.


@compile_ahead((array(np.int64), array(np.bool_)))
@numba.njit(cache=True, nogil=True)
def _longs(numbers, valid):  # type: ignore[no-untyped-def]
    out, offsets, at = np.empty(11 * len(numbers), np.uint8), np.zeros(len(numbers) + 1, np.int64), 0
    for i in range(len(numbers)):
        out[at] = 2 if valid[i] else 0
        at += 1
        if valid[i]:
            at = _varint(out, at, numbers[i])
        offsets[i + 1] = at
    return out[:at].copy(), offsets


@compile_ahead((array(np.uint8), 1, array(np.bool_)), (read_only(np.uint8), 1, array(np.bool_)))
@numba.njit(cache=True, nogil=True)
def _widths(raw, width, valid):  # type: ignore[no-untyped-def]
    out, offsets, at = np.empty((width + 1) * len(valid), np.uint8), np.zeros(len(valid) + 1, np.int64), 0
    for i in range(len(valid)):
        out[at] = 2 if valid[i] else 0
        at += 1
        if valid[i]:
            for j in range(width):
                out[at + j] = raw[i * width + j]
            at += width
        offsets[i + 1] = at
    return out[:at].copy(), offsets


@compile_ahead(
    (array(np.uint8), array(np.int64), array(np.bool_)), (read_only(np.uint8), array(np.int64), array(np.bool_))
)
@numba.njit(cache=True, nogil=True)
def _texts(data, borders, valid):  # type: ignore[no-untyped-def]
    room = borders[-1] - borders[0] + 11 * len(valid)
    out, offsets, at = np.empty(room, np.uint8), np.zeros(len(valid) + 1, np.int64), 0
    for i in range(len(valid)):
        out[at] = 2 if valid[i] else 0
        at += 1
        if valid[i]:
            at = _varint(out, at, borders[i + 1] - borders[i])
            for j in range(borders[i], borders[i + 1]):
                out[at] = data[j]
                at += 1
        offsets[i + 1] = at
    return out[:at].copy(), offsets


@compile_ahead((array(np.uint8), array(np.int64), array(np.int64), array(np.bool_)))
@numba.njit(cache=True, nogil=True)
def _lists(data, inner, borders, valid):  # type: ignore[no-untyped-def]
    """List i has the items [borders[i], borders[i + 1]); item j is `data[inner[j] : inner[j + 1]]`."""
    room = inner[-1] + 12 * len(valid)
    out, offsets, at = np.empty(room, np.uint8), np.zeros(len(valid) + 1, np.int64), 0
    for i in range(len(valid)):
        out[at] = 2 if valid[i] else 0
        at += 1
        if valid[i]:
            count = borders[i + 1] - borders[i]
            if count:
                at = _varint(out, at, count)
                for j in range(inner[borders[i]], inner[borders[i + 1]]):
                    out[at] = data[j]
                    at += 1
            out[at] = 0
            at += 1
        offsets[i + 1] = at
    return out[:at].copy(), offsets
