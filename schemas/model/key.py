"""Keys of rows: equal keys numbered alike, and a hash that sends them to the same shard."""

from collections.abc import Sequence
from typing import Final

import numba
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..loops import array, compile_ahead, read_only

SEED: Final = np.uint64(0x9E3779B97F4A7C15)
NULL: Final = np.uint64((1 << 64) - 1)
"""The hash of NULL, as of the integer -1."""
DAY: Final = 86_400_000_000
"""Microseconds."""
WHOLE: Final = "^-?[0-9]{1,18}$"
EXACT: Final = float(1 << 53)
"""Below it every whole float is the integer that it was."""


def number_keys(columns: Sequence[pa.Array]) -> tuple[NDArray[np.int32], int]:
    """A number for each row, equal where all key columns are equal, and how many there are.

    Nulls are equal to one another. Numbers count from 0 in order of first appearance.
    """
    codes, count = _number(columns[0])
    for column in columns[1:]:
        inner, width = _number(column)
        codes, count = _number(pa.array(codes.astype(np.int64) * width + inner))
    return codes, count


def _number(column: pa.Array) -> tuple[NDArray[np.int32], int]:
    if pa.types.is_integer(column.type) and not column.null_count:
        numbers, count = _number_integers(np.asarray(column.cast(pa.int64(), safe=False)))
        return numbers, int(count)
    encoded = column.dictionary_encode(null_encoding="encode")
    return np.asarray(encoded.indices), len(encoded.dictionary)


@compile_ahead((read_only(np.int64),))
@numba.njit(cache=True, nogil=True)
def _number_integers(values):  # type: ignore[no-untyped-def]
    """An open-addressing table of the values met: more than twice as fast as Arrow's dictionary encoding."""
    bits = 4
    while (1 << bits) < 2 * len(values):
        bits += 1
    table, mask, shift = np.full(1 << bits, -1, np.int32), (1 << bits) - 1, np.uint64(64 - bits)
    numbers, firsts, count = np.empty(len(values), np.int32), np.empty(len(values), np.int64), 0
    for row in range(len(values)):
        slot = np.int64((np.uint64(values[row]) * SEED) >> shift)
        while table[slot] >= 0 and firsts[table[slot]] != values[row]:
            slot = (slot + 1) & mask
        if table[slot] < 0:
            table[slot], firsts[count] = count, values[row]
            count += 1
        numbers[row] = table[slot]
    return numbers, count


def shard(columns: Sequence[pa.Array], shards: int) -> NDArray[np.int32]:
    """The shard of each row, 0 to shards - 1.

    The same for a key however wide its integers are, whatever scale its decimals have, and whether a whole number is
    an integer, a decimal or a float and a day a date or a timestamp: a key stays in one shard while its schema grows.
    """
    if shards == 1:
        return np.zeros(len(columns[0]), np.int32)
    mixed = np.zeros(len(columns[0]), np.uint64)
    for column in columns:
        _mix(mixed, _hash(column))
    return (mixed % np.uint64(shards)).astype(np.int32)


def _hash(column: pa.Array) -> NDArray[np.uint64]:
    kind = column.type
    if pa.types.is_integer(kind):
        return np.asarray(column.cast(pa.int64()).fill_null(-1)).view(np.uint64)
    if pa.types.is_timestamp(kind):
        return _hash(column.cast(pa.timestamp("us", kind.tz), safe=False).cast(pa.int64()))
    if pa.types.is_date32(kind):
        days = np.asarray(column.cast(pa.int32()).cast(pa.int64()).fill_null(-1))
        return (days * np.where(np.asarray(column.is_valid()), DAY, 1)).view(np.uint64)
    if pa.types.is_time32(kind):
        return _hash(column.cast(pa.int32()))
    if pa.types.is_time64(kind) or pa.types.is_duration(kind):
        return _hash(column.cast(pa.int64()))
    if pa.types.is_decimal(kind):
        text = column.cast(pa.string())
        if kind.scale > 0:
            text = pc.utf8_rtrim(pc.utf8_rtrim(text, characters="0"), characters=".")
        return _hash_whole(text, np.asarray(pc.match_substring_regex(text, WHOLE).fill_null(False)))
    if pa.types.is_floating(kind):
        numbers = column.cast(pa.float64())
        whole = pc.and_(pc.equal(pc.floor(numbers), numbers), pc.less(pc.abs(numbers), EXACT))
        return _hash_whole(numbers, np.asarray(whole.fill_null(False)))
    if pa.types.is_fixed_size_binary(kind):
        column = column.cast(pa.binary())
    elif not (pa.types.is_string(kind) or pa.types.is_binary(kind)):
        column = column.cast(pa.string())
    _, offsets, data = column.buffers()
    raw = np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(1, np.uint8)
    return _hash_bytes(raw, np.frombuffer(offsets, np.int32, len(column) + 1, column.offset * 4))


def _hash_whole(column: pa.Array, whole: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """The hash of text or floats; where they are `whole` numbers of at most 18 digits, that of the integer."""
    hashes = np.where(np.asarray(column.is_valid()), _hash(column.cast(pa.string()).fill_null("")), NULL)
    rows = np.flatnonzero(whole)
    hashes[rows] = np.asarray(column.take(pa.array(rows)).cast(pa.int64())).view(np.uint64)
    return hashes


@compile_ahead(
    (array(np.uint8), array(np.int32)),
    (array(np.uint8), read_only(np.int32)),
    (read_only(np.uint8), array(np.int32)),
    (read_only(np.uint8), read_only(np.int32)),
)
@numba.njit(cache=True, nogil=True)
def _hash_bytes(data, offsets):  # type: ignore[no-untyped-def]
    """FNV-1a, 64 bits."""
    hashes = np.empty(len(offsets) - 1, np.uint64)
    for i in range(len(hashes)):
        value = np.uint64(0xCBF29CE484222325)
        for p in range(offsets[i], offsets[i + 1]):
            value = (value ^ np.uint64(data[p])) * np.uint64(0x100000001B3)
        hashes[i] = value
    return hashes


@compile_ahead((array(np.uint64), array(np.uint64)), (array(np.uint64), read_only(np.uint64)))
@numba.njit(cache=True, nogil=True)
def _mix(mixed, hashes):  # type: ignore[no-untyped-def]
    """The finaliser of SplitMix64 over the running value and the next column's hash."""
    for i in range(len(mixed)):
        value = mixed[i] * np.uint64(31) + hashes[i] + SEED
        value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed[i] = value ^ (value >> np.uint64(31))
