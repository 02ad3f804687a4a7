"""Blocks of a database's log: records one after another, each with a header of 21 bytes.

    kind    u8       S: the schema of the records that follow; the source says what the others mean
    offset  u64 LE   where the record's transaction stands in the log; of a copied chunk its number
    time    i64 LE   the commit's time, milliseconds since 1970; -1 for a copy
    length  u32 LE   of the payload that follows

The first record is an S, and each S holds for the records up to the next one.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numba
import numpy as np
from numpy.typing import NDArray

from ...schemas.loops import array, compile_ahead, read_only
from ...schemas.model.block import Block

HEADER: Final = struct.Struct("<BQqI")
SCHEMA: Final = ord("S")
KIND, OFFSET, TIME, AT, LENGTH = range(5)
"""Columns of what `records` gives."""


def record(kind: int, offset: int, time: int, payload: bytes) -> bytes:
    """One record."""
    return HEADER.pack(kind, offset, time, len(payload)) + payload


@compile_ahead((read_only(np.uint8),))
@numba.njit(cache=True, nogil=True)
def records(data):  # type: ignore[no-untyped-def]
    """Shape (n, 5): kind, offset, time, where the payload begins, its length."""
    count, p = 0, 0
    while p < len(data):
        size = data[p + 17] | data[p + 18] << 8 | data[p + 19] << 16 | np.int64(data[p + 20]) << 24
        p += 21 + size
        count += 1
    found = np.empty((count, 5), np.int64)
    p = 0
    for i in range(count):
        offset, time = np.int64(0), np.int64(0)
        for j in range(8):
            offset |= np.int64(data[p + 1 + j]) << (8 * j)
            time |= np.int64(data[p + 9 + j]) << (8 * j)
        size = data[p + 17] | data[p + 18] << 8 | data[p + 19] << 16 | np.int64(data[p + 20]) << 24
        found[i, 0], found[i, 1], found[i, 2], found[i, 3], found[i, 4] = data[p], offset, time, p + 21, size
        p += 21 + size
    return found


@compile_ahead((read_only(np.uint8), array(np.int64, 2)))
@numba.njit(cache=True, nogil=True)
def packed(data, rows):  # type: ignore[no-untyped-def]
    """The records of messages of a chunk; `rows` as `records` gives them."""
    total = 0
    for i in range(len(rows)):
        total += 21 + rows[i, 4]
    out = np.empty(total, np.uint8)
    p = 0
    for i in range(len(rows)):
        out[p] = rows[i, 0]
        for j in range(8):
            out[p + 1 + j] = (rows[i, 1] >> (8 * j)) & 255
            out[p + 9 + j] = (rows[i, 2] >> (8 * j)) & 255
        for j in range(4):
            out[p + 17 + j] = (rows[i, 4] >> (8 * j)) & 255
        p += 21
        for j in range(rows[i, 4]):
            out[p + j] = data[rows[i, 3] + j]
        p += rows[i, 4]
    return out


def read_records(data: bytes) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The bytes, and what `records` says of them."""
    view = np.frombuffer(data, np.uint8)
    return view, records(view)


def cut_data(data: bytes, starts: Sequence[int]) -> list[bytes]:
    """The data cut at these offsets; each piece that has rows begins with its schema."""
    _, found = read_records(data)
    rows = found[:, KIND] != SCHEMA
    # An S stands before the record that follows it, and belongs to the same piece.
    offsets = found[:, OFFSET].copy()
    for i in np.flatnonzero(~rows)[::-1]:
        offsets[i] = offsets[i + 1] if i + 1 < len(found) else -1
    pieces = []
    schema = b""
    for first, stop in zip(starts, [*starts[1:], np.iinfo(np.int64).max], strict=True):
        mine = np.flatnonzero((offsets >= first) & (offsets < stop))
        if not rows[mine].any():
            pieces.append(b"")
            continue
        low = int(found[mine[0], AT]) - HEADER.size
        high = int(found[mine[-1], AT] + found[mine[-1], LENGTH])
        before = b"" if not rows[mine[0]] else schema
        pieces.append(before + data[low:high])
        last = [i for i in mine if not rows[i]]
        if last:
            at, size = int(found[last[-1], AT]), int(found[last[-1], LENGTH])
            schema = data[at - HEADER.size : at + size]
    return pieces


@dataclass(slots=True)
class TransactionCounter:
    """The transaction that was read last, the number of its next change, and of its first in the block."""

    offset: int = -1
    next: int = 0

    def places(self, offsets: NDArray[np.int64]) -> NDArray[np.int64]:
        """By change its number within its transaction; `offsets` ascend."""
        if not len(offsets):
            return offsets
        index = np.arange(len(offsets))
        begins = np.concatenate(([True], offsets[1:] != offsets[:-1]))
        numbers = index - np.maximum.accumulate(np.where(begins, index, 0))
        if offsets[0] == self.offset:
            numbers[offsets == self.offset] += self.next
        self.offset, self.next = int(offsets[-1]), int(numbers[-1]) + 1
        return numbers


def cut_block(block: Block, starts: Sequence[int]) -> list[Block]:
    """The block cut at these offsets, as `Source.cut` promises."""
    pieces = cut_data(block.data, starts) if block.data else [b""] * len(starts)
    return block.pieces(starts, pieces)


def record_times(block: Block) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Offset and time of each record, as `Source.times` promises."""
    if not block.data:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    _, found = read_records(block.data)
    found = found[(found[:, KIND] != SCHEMA) & (found[:, OFFSET] >= block.first) & (found[:, OFFSET] < block.stop)]
    return found[:, OFFSET], found[:, TIME]
