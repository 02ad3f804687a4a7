"""Keys as numbers: equal keys have equal digests, and different keys different ones.

A key of one whole number is its own digest. Any other key is hashed by SipHash-2-4 (Aumasson and Bernstein, 2012),
twice with secrets of this process, to 128 bits: nobody who writes to the topics can choose two keys that collide.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numba
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .....schemas.loops import array, compile_ahead, read_only

Words = NDArray[np.uint64]

SECRET: Final = np.frombuffer(os.urandom(32), np.uint64)


@dataclass(frozen=True, slots=True)
class Digests:
    """One 128-bit digest for each row, as two arrays.

    Of a hash, `high` and `low` (uint64) are the halves. Of a key that is one whole number, `high` is the number and
    `low` (uint8) 1 where it is NULL: a slot of an index is 7 bytes smaller so.
    """

    high: Words
    low: NDArray[Any]

    def __len__(self) -> int:
        return len(self.high)

    def take(self, rows: NDArray[Any]) -> "Digests":
        return Digests(self.high[rows], self.low[rows])


def digest(columns: Sequence[pa.Array]) -> Digests:
    """One digest for each row; `columns` are the key's, of stored types.

    Equal numbers have equal digests whatever their width, so a column may grow: int32 to int64, float to double, a
    decimal to more digits of the same scale.
    """
    if len(columns) == 1 and (whole := _whole(columns[0])) is not None:
        null = np.asarray(columns[0].is_null()).astype(np.uint8)
        return Digests(np.where(null, np.uint64(0), whole), null)
    high, low = np.zeros(len(columns[0]), np.uint64), np.zeros(len(columns[0]), np.uint64)
    for column in columns:
        data, offsets = _bytes(column)
        _mix(data, offsets, np.asarray(column.is_null()), SECRET, high, low)
    return Digests(high, low)


def _whole(column: pa.Array) -> Words | None:
    """Integers, dates, times and booleans as 64-bit numbers, 0 for NULL; None for any other type."""
    kind = column.type
    if pa.types.is_date32(kind) or pa.types.is_time64(kind) or pa.types.is_timestamp(kind):
        column = column.cast(pa.int32() if pa.types.is_date32(kind) else pa.int64())
    elif pa.types.is_boolean(kind):
        column = column.cast(pa.int8())
    elif not pa.types.is_signed_integer(kind):
        return None
    return np.asarray(column.cast(pa.int64()).fill_null(0)).view(np.uint64)


def _bytes(column: pa.Array) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The bytes of all values, one after the other, and n + 1 offsets; equal values have equal bytes."""
    kind = column.type
    if pa.types.is_decimal(kind):
        column = column.cast(pa.decimal128(38, kind.scale)).fill_null(0)
        raw = np.frombuffer(column.buffers()[1], np.uint8)[column.offset * 16 : (column.offset + len(column)) * 16]
        return raw, np.arange(len(column) + 1) * 16
    if pa.types.is_floating(kind):
        # -0.0 + 0.0 is 0.0, and each NaN becomes the same one.
        numbers = np.asarray(column.cast(pa.float64()).fill_null(0.0)) + 0.0
        numbers = np.where(np.isnan(numbers), np.nan, numbers)
        return np.ascontiguousarray(numbers).view(np.uint8), np.arange(len(column) + 1) * 8
    whole = _whole(column)
    if whole is not None:
        return np.ascontiguousarray(whole).view(np.uint8), np.arange(len(column) + 1) * 8
    column = column.cast(pa.large_string() if pa.types.is_string(kind) else pa.large_binary())
    _, starts, data = column.buffers()
    raw = np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(1, np.uint8)
    return raw, np.frombuffer(starts, np.int64, len(column) + 1, column.offset * 8)


@compile_ahead(
    (array(np.uint8), array(np.int64), array(np.bool_), read_only(np.uint64), array(np.uint64), array(np.uint64)),
    (array(np.uint8), read_only(np.int64), array(np.bool_), read_only(np.uint64), array(np.uint64), array(np.uint64)),
    (read_only(np.uint8), array(np.int64), array(np.bool_), read_only(np.uint64), array(np.uint64), array(np.uint64)),
    (
        read_only(np.uint8),
        read_only(np.int64),
        array(np.bool_),
        read_only(np.uint64),
        array(np.uint64),
        array(np.uint64),
    ),
)
@numba.njit(cache=True, nogil=True)
def _mix(data, offsets, null, secret, high, low):  # type: ignore[no-untyped-def]
    """Hash the digest of each row so far together with the next column's bytes, in place.

    Chaining columns this way keeps ("ab", "c") and ("a", "bc") apart. NULL has no bytes, but a tag of its own.
    """
    for row in range(len(high)):
        start, stop = (offsets[row], offsets[row]) if null[row] else (offsets[row], offsets[row + 1])
        tag = np.uint64(1) if null[row] else np.uint64(0)
        first = _sip(data, start, stop, high[row], low[row] ^ tag, secret[0], secret[1])
        low[row] = _sip(data, start, stop, high[row], low[row] ^ tag, secret[2], secret[3])
        high[row] = first


@numba.njit(cache=True, nogil=True, inline="always")
def _rotate_left(value, bits):  # type: ignore[no-untyped-def]
    return (value << np.uint64(bits)) | (value >> np.uint64(64 - bits))


@numba.njit(cache=True, nogil=True)
def _round(a, b, c, d):  # type: ignore[no-untyped-def]
    a, c = a + b, c + d
    b, d = _rotate_left(b, 13) ^ a, _rotate_left(d, 16) ^ c
    a = _rotate_left(a, 32)
    c, a = c + b, a + d
    b, d = _rotate_left(b, 17) ^ c, _rotate_left(d, 21) ^ a
    return a, b, _rotate_left(c, 32), d


@numba.njit(cache=True, nogil=True)
def _sip(data, start, stop, before, also, left, right):  # type: ignore[no-untyped-def]
    """SipHash-2-4 by the secret (`left`, `right`) of two words, `before` and `also`, and the bytes [start, stop)."""
    a, b = left ^ np.uint64(0x736F6D6570736575), right ^ np.uint64(0x646F72616E646F6D)
    c, d = left ^ np.uint64(0x6C7967656E657261), right ^ np.uint64(0x7465646279746573)
    words = (stop - start) // 8
    for number in range(-2, words + 1):
        # The two words stand first, then whole words of the bytes; the last one has what is left, and the length.
        if number == -2:
            word = before
        elif number == -1:
            word = also
        else:
            word, width = np.uint64(0), min(8, stop - start - number * 8)
            for shift in range(width):
                word |= np.uint64(data[start + number * 8 + shift]) << np.uint64(8 * shift)
            if number == words:
                word |= np.uint64((stop - start + 16) & 255) << np.uint64(56)
        d ^= word
        a, b, c, d = _round(a, b, c, d)
        a, b, c, d = _round(a, b, c, d)
        a ^= word
    c ^= np.uint64(0xFF)
    for _ in range(4):
        a, b, c, d = _round(a, b, c, d)
    return a ^ b ^ c ^ d
