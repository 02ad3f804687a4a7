"""Positions: where a change stands in its source's order, as 24 bytes that compare as the source orders.

Three unsigned 64-bit numbers, big-endian: (source commit order, order inside it, Kafka offset). They come from
the `source` block of a Debezium envelope, never from a timestamp:

    PostgreSQL  last commit LSN, LSN        `sequence` is '["<last commit>","<lsn>"]'; a null in it counts as 0;
                                            without `sequence` the LSN stands for both
    MySQL       file number, pos and row    the number behind the last dot of `file`; `pos << 24 | row`
    Oracle      commit SCN, SCN             decimal text
    SQL Server  commit LSN, change LSN      `vlf:block:slot` in hexadecimal, packed as 24, 24 and 16 bits
    others      0, 0                        the Kafka offset alone
"""

from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .change import POSITION_TYPE

Numbers = tuple[NDArray[np.uint64], NDArray[np.uint64]]

ZERO: Final = bytes(24)
DIGITS: Final = np.frombuffer(b"0123456789abcdef", np.uint8)


def pack(commit: NDArray[np.uint64], inner: NDArray[np.uint64], offset: NDArray[np.int64]) -> pa.Array:
    """`fixed_size_binary(24)` positions."""
    numbers = np.empty((len(offset), 3), ">u8")
    numbers[:, 0], numbers[:, 1], numbers[:, 2] = commit, inner, offset
    return pa.Array.from_buffers(POSITION_TYPE, len(offset), [None, pa.py_buffer(numbers)])


def unpack(positions: pa.Array) -> NDArray[np.uint64]:
    """The three numbers of each position, shape (n, 3)."""
    if not len(positions):
        return np.empty((0, 3), np.uint64)
    raw = np.frombuffer(positions.buffers()[1], ">u8", 3 * len(positions), positions.offset * 24)
    return raw.reshape(-1, 3).astype(np.uint64)


def pack_words(words: NDArray[np.uint64]) -> pa.Array:
    """What `unpack` was made of."""
    return pa.Array.from_buffers(POSITION_TYPE, len(words), [None, pa.py_buffer(words.astype(">u8"))])


def to_hexadecimal(words: NDArray[np.uint64]) -> pa.Array:
    """Each position, unpacked, as 48 digits: the texts sort as positions do."""
    raw = np.frombuffer(words.astype(">u8").tobytes(), np.uint8)
    digits = np.empty((len(raw), 2), np.uint8)
    digits[:, 0], digits[:, 1] = DIGITS[raw >> 4], DIGITS[raw & 15]
    offsets = pa.py_buffer(np.arange(0, 48 * len(words) + 1, 48, dtype=np.int32))
    return pa.Array.from_buffers(pa.string(), len(words), [None, offsets, pa.py_buffer(digits)])


def from_hexadecimal(digits: pa.Array) -> NDArray[np.uint64]:
    """The positions, unpacked, that `to_hexadecimal` wrote."""
    if not len(digits):
        return np.empty((0, 3), np.uint64)
    _, offsets, data = digits.cast(pa.string()).buffers()
    first = np.frombuffer(offsets, np.int32)[digits.offset]
    codes = np.frombuffer(data, np.uint8, 48 * len(digits), first).reshape(-1, 2)
    values = np.where(codes >= 97, codes - 87, codes - 48)
    raw = (values[:, 0] << 4 | values[:, 1]).astype(np.uint8)
    return np.frombuffer(raw.tobytes(), ">u8").reshape(-1, 3).astype(np.uint64)
