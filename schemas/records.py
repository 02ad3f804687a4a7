"""Records: the columns of record batches v2, split without Python per record.

Format: Kafka protocol, "Record Batch" (message format v2).
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from .block import Block
from .codecs import CodecError, decompress
from .dead_letter import DeadLetter
from .varints import PROBLEMS, varint, walk

MAX_BATCH_BYTES: Final = 128 << 20
"""The most that one record batch may hold when decompressed; kafka-python takes up to 100 MB off the wire."""

_HEADER: Final = struct.Struct(">qiibIhiqqqhii")
_PREFIX: Final = struct.Struct(">qi")
_CRC_FROM: Final = struct.calcsize(">qiibI")
_ATTRIBUTES_AT: Final = _CRC_FROM + 1
_LEAST_RECORD: Final = 7
_GUESSED_RECORD: Final = 64

_CODEC, _APPEND_TIME, _CONTROL = 0x07, 0x08, 0x20
_COLUMNS: Final = 9


@dataclass(frozen=True, slots=True, eq=False)
class Records:
    """n records of one partition in ascending offset order, all inside [first, stop).

    `data` is uint8; the other columns are int64 of length n. A key or value is `data[at:at+len]`, null where
    `len` is -1. `headers_at`, `headers_len` is the region of the raw headers behind their count,
    `headers_count`. `timestamp` is in milliseconds since the epoch, -1 where the producer gave none.
    """

    topic: str
    partition: int
    first: int
    stop: int
    data: NDArray[np.uint8]
    offset: NDArray[np.int64]
    timestamp: NDArray[np.int64]
    key_at: NDArray[np.int64]
    key_len: NDArray[np.int64]
    value_at: NDArray[np.int64]
    value_len: NDArray[np.int64]
    headers_at: NDArray[np.int64]
    headers_len: NDArray[np.int64]
    headers_count: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offset)

    def key(self, row: int) -> bytes | None:
        """The key's bytes; for single rows, not for the hot path (also the two below)."""
        return self._bytes(int(self.key_at[row]), int(self.key_len[row]))

    def value(self, row: int) -> bytes | None:
        """The value's bytes."""
        return self._bytes(int(self.value_at[row]), int(self.value_len[row]))

    def headers(self, row: int) -> list[tuple[str, bytes | None]]:
        """The headers in order; bytes of a name that are not UTF-8 appear as backslash escapes."""
        at = int(self.headers_at[row])
        found = []
        for _ in range(int(self.headers_count[row])):
            length, at = varint(self.data, at, len(self.data), 5)
            name = self._bytes(at, length) or b""
            size, at = varint(self.data, at + length, len(self.data), 5)
            found.append((name.decode("utf-8", "backslashreplace"), self._bytes(at, size)))
            at += max(size, 0)
        return found

    def _bytes(self, at: int, length: int) -> bytes | None:
        return None if length < 0 else self.data[at : at + length].tobytes()


class _BatchError(Exception):
    """This batch becomes a dead letter."""


@dataclass(frozen=True, slots=True)
class _Batch:
    base_offset: int
    attributes: int
    last_delta: int
    first_timestamp: int
    max_timestamp: int
    count: int


def split(block: Block) -> tuple[Records, list[DeadLetter]]:
    """The records of a block inside [first, stop), and a dead letter for each batch that is corrupt.

    A batch is taken whole or not at all. A dead letter's value is the batch as it came, its offset the batch's base
    offset, moved into [first, stop). Where a batch's length is corrupt, the rest of the block is one dead letter.
    `data` is the block's own bytes as long as no batch is compressed.
    """
    bounds = _bounds(block.data)
    plain = not any(_compressed(block.data, start, stop) for start, stop in bounds)
    whole = np.frombuffer(block.data, np.uint8)
    columns = _Columns(len(block.data) // _GUESSED_RECORD)
    contents: list[bytes] = []
    letters: list[DeadLetter] = []
    size, least = 0, 0
    for start, stop in bounds:
        try:
            batch = _check(block, start, stop, least)
            if batch.attributes & _CONTROL:
                continue
            if plain:
                columns.append(batch, whole[start + _HEADER.size : stop], start + _HEADER.size)
            else:
                content = _content(block.data, start, stop, batch)
                columns.append(batch, np.frombuffer(content, np.uint8), size)
                contents.append(content)
                size += len(content)
        except _BatchError as error:
            letters.append(_letter(block, start, stop, error))
        else:
            least = batch.base_offset + batch.last_delta + 1
    data = whole if plain else np.frombuffer(b"".join(contents), np.uint8)
    return columns.records(block, data), letters


def parts(block: Block, starts: Sequence[int]) -> list[Block]:
    """The block cut at these offsets, the first of which is its own: `split` gives of the parts what it gives of it.

    A batch that reaches over an end is in both parts. One that is corrupt, whose header may say anything, is in one.
    """
    stops = [*starts[1:], block.stop]
    found: list[list[bytes]] = [[] for _ in starts]
    least = 0
    for start, stop in _bounds(block.data):
        try:
            batch = _check(block, start, stop, least)
            low, high = batch.base_offset, batch.base_offset + batch.last_delta
            least = high + 1
        except _BatchError as error:
            # Behind the good one before it: what is out of order here must not be in order there.
            low = high = min(max(_letter(block, start, stop, error).offset, least - 1), block.stop - 1)
        for part, first, end in zip(found, starts, stops, strict=True):
            if low < end and high >= first:
                part.append(block.data[start:stop])
    return [
        replace(block, first=first, stop=stop, data=b"".join(part))
        for part, first, stop in zip(found, starts, stops, strict=True)
    ]


def _bounds(data: bytes) -> list[tuple[int, int]]:
    found = []
    start = 0
    while start < len(data):
        stop = len(data)
        if start + _HEADER.size <= len(data):
            length = _PREFIX.size + _PREFIX.unpack_from(data, start)[1]
            if _HEADER.size <= length <= len(data) - start:
                stop = start + length
        found.append((start, stop))
        start = stop
    return found


def _compressed(data: bytes, start: int, stop: int) -> bool:
    return stop - start >= _HEADER.size and bool(data[start + _ATTRIBUTES_AT] & _CODEC)


def _check(block: Block, start: int, stop: int, least: int) -> _Batch:
    """The batch's header, its checksum and offsets found good."""
    if stop - start < _HEADER.size:
        raise _BatchError(f"{stop - start} bytes are no record batch")
    header = _HEADER.unpack_from(block.data, start)
    base, length, _, magic, crc, attributes, last_delta, first_timestamp, max_timestamp, _, _, _, count = header
    if length + _PREFIX.size != stop - start:
        raise _BatchError(f"the record batch says that it is {length} bytes long, {stop - start} are left")
    if magic != 2:
        raise _BatchError(f"message format {magic} instead of 2")
    if google_crc32c.value(block.data[start + _CRC_FROM : stop]) != crc:
        raise _BatchError("the CRC-32C of the record batch is wrong")
    if last_delta < 0 or base < least or base >= block.stop or base + last_delta < block.first:
        raise _BatchError(f"offsets {base} to {base + last_delta} are out of order or not of this block")
    if count < 0:
        raise _BatchError(f"a count of {count} records")
    return _Batch(base, attributes, last_delta, first_timestamp, max_timestamp, count)


def _content(data: bytes, start: int, stop: int, batch: _Batch) -> bytes:
    body = memoryview(data)[start + _HEADER.size : stop]
    if not batch.attributes & _CODEC:
        return bytes(body)
    try:
        return decompress(batch.attributes & _CODEC, body, MAX_BATCH_BYTES)
    except CodecError as error:
        raise _BatchError(str(error)) from error


def _letter(block: Block, start: int, stop: int, error: _BatchError) -> DeadLetter:
    base = _PREFIX.unpack_from(block.data, start)[0] if stop - start >= _PREFIX.size else block.first
    offset = min(max(base, block.first), block.stop - 1)
    value = block.data[start:stop]
    return DeadLetter(block.topic, block.partition, offset, -1, None, value, None, "split", f"{error}")


class _Columns:
    """Columns that grow, one row of `cells` each."""

    def __init__(self, capacity: int) -> None:
        self.cells = np.empty((_COLUMNS, capacity), np.int64)
        self.used = 0

    def append(self, batch: _Batch, content: NDArray[np.uint8], shift: int) -> None:
        """Add a batch's records, with `shift` added to their places; on _BatchError nothing is added."""
        if batch.count * _LEAST_RECORD > len(content):
            raise _BatchError(f"{batch.count} records do not fit in {len(content)} bytes")
        needed = self.used + batch.count
        if needed > self.cells.shape[1]:
            grown = np.empty((_COLUMNS, 2 * needed), np.int64)
            grown[:, : self.used] = self.cells[:, : self.used]
            self.cells = grown
        fixed = bool(batch.attributes & _APPEND_TIME)
        clock = batch.max_timestamp if fixed else batch.first_timestamp
        problem = walk(
            content, self.cells[:, self.used : needed], shift, batch.base_offset, batch.last_delta, clock, fixed
        )
        if problem:
            raise _BatchError(PROBLEMS[problem])
        self.used = needed

    def records(self, block: Block, data: NDArray[np.uint8]) -> Records:
        """Those inside the block's range; the columns are views."""
        low, high = np.searchsorted(self.cells[0, : self.used], (block.first, block.stop))
        return Records(block.topic, block.partition, block.first, block.stop, data, *self.cells[:, low:high])
