"""Positions: where a change stands in its source's order, as 32 bytes that compare as the source orders.

Four unsigned 64-bit numbers, big-endian: (epoch, source commit order, order inside it, Kafka offset). The epoch grows
where another server takes over, whose numbers cannot be compared; with `on_two_sources: newest_time` the source's clock
(milliseconds) stands there. The next two come from the `source` block of a
Debezium envelope, never from a timestamp:

    PostgreSQL  last commit LSN, LSN        `sequence` is '["<last commit>","<lsn>"]'; for a null in it, and
                                            without `sequence`, the LSN stands for the commit
    MySQL       file number, pos and row    the number after the last dot of `file`; `pos << 24 | row`
    Oracle      commit SCN, SCN             decimal text
    SQL Server  commit LSN, change LSN      file and block of the commit; its slot, and the change's block and slot
    Db2         commit LSN                  128 bits
    Informix    commit LSN, change LSN      decimal text
    others      0, 0                        the Kafka offset alone; so YugabyteDB, whose LSN belongs to one tablet
"""

from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .change import POSITION_TYPE, POSITION_WORDS

Numbers = tuple[NDArray[np.uint64], NDArray[np.uint64]]

ZERO: Final = bytes(32)
DIGITS: Final = np.frombuffer(b"0123456789abcdef", np.uint8)


def pack(
    commit: NDArray[np.uint64],
    inner: NDArray[np.uint64],
    offset: NDArray[np.int64],
    first: NDArray[np.uint64] | None = None,
) -> pa.Array:
    """`fixed_size_binary(32)` positions; the `first` number is 0, the first epoch, where it is not given."""
    numbers = np.zeros((len(offset), POSITION_WORDS), ">u8")
    if first is not None:
        numbers[:, 0] = first
    numbers[:, 1], numbers[:, 2], numbers[:, 3] = commit, inner, offset
    return pa.Array.from_buffers(POSITION_TYPE, len(offset), [None, pa.py_buffer(numbers)])


def unpack(positions: pa.Array) -> NDArray[np.uint64]:
    """The four numbers of each position, shape (n, 4)."""
    if not len(positions):
        return np.empty((0, POSITION_WORDS), np.uint64)
    raw = np.frombuffer(positions.buffers()[1], ">u8", POSITION_WORDS * len(positions), positions.offset * 32)
    return raw.reshape(-1, POSITION_WORDS).astype(np.uint64)


def pack_words(words: NDArray[np.uint64]) -> pa.Array:
    """What `unpack` was made of."""
    return pa.Array.from_buffers(POSITION_TYPE, len(words), [None, pa.py_buffer(words.astype(">u8"))])


def to_hexadecimal(words: NDArray[np.uint64]) -> pa.Array:
    """Each position, unpacked, as 64 digits: the texts sort as positions do."""
    raw = np.frombuffer(words.astype(">u8").tobytes(), np.uint8)
    digits = np.empty((len(raw), 2), np.uint8)
    digits[:, 0], digits[:, 1] = DIGITS[raw >> 4], DIGITS[raw & 15]
    offsets = pa.py_buffer(np.arange(0, 64 * len(words) + 1, 64, dtype=np.int32))
    return pa.Array.from_buffers(pa.string(), len(words), [None, offsets, pa.py_buffer(digits)])


def from_hexadecimal(digits: pa.Array) -> NDArray[np.uint64]:
    """The positions, unpacked, that `to_hexadecimal` wrote."""
    if not len(digits):
        return np.empty((0, POSITION_WORDS), np.uint64)
    _, offsets, data = digits.cast(pa.string()).buffers()
    first = np.frombuffer(offsets, np.int32)[digits.offset]
    codes = np.frombuffer(data, np.uint8, 64 * len(digits), first).reshape(-1, 2)
    values = np.where(codes >= 97, codes - 87, codes - 48)
    raw = (values[:, 0] << 4 | values[:, 1]).astype(np.uint8)
    return np.frombuffer(raw.tobytes(), ">u8").reshape(-1, POSITION_WORDS).astype(np.uint64)


def by_position(words: NDArray[np.uint64], *first: NDArray[np.signedinteger]) -> NDArray[np.int64]:
    """The order of unpacked positions, ascending; `first` are numbers that go before them, the last the most."""
    return np.lexsort((*words.T[::-1], *first))
