"""Kafka's record batches (v2) to columns of messages: one loop in Python for each batch, none for each record.

Format: Kafka protocol, "Record Batch" (message format v2).
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from ....schemas.model.block import Block
from ....schemas.model.dead_letter import DeadLetter
from ....schemas.model.message_batch import MessageBatch
from ..compression import CodecError, decompress
from ..log_batches import BatchError, batch_letter, cut_batches, headers_of
from .record_varints import PROBLEMS, find_headers, walk

MAX_BATCH_BYTES: Final = 128 << 20
"""The most that one record batch may hold when decompressed; kafka-python takes up to 100 MB off the wire."""

_HEADER: Final = struct.Struct(">qiibIhiqqqhii")
_PREFIX: Final = struct.Struct(">qi")
_CRC_FROM: Final = struct.calcsize(">qiibI")
_ATTRIBUTES_AT: Final = _CRC_FROM + 1
_LEAST_RECORD: Final = 7
"""Bytes of the smallest record: none of its seven fields takes less than one."""
_GUESSED_RECORD: Final = 64
"""Bytes of a record for which room is made at first."""

# Attributes: bits of the compression, LogAppendTime (one timestamp for all records), control batch.
_CODEC, _APPEND_TIME, _CONTROL = 0x07, 0x08, 0x20
_COLUMNS: Final = 8
"""Rows of `_Columns.cells`, as `record_varints.walk` fills them."""
_HEADERS_AT, _HEADERS_COUNT = 6, 7


@dataclass(frozen=True, slots=True)
class _Batch:
    """Fields of a batch header that passed `_check`."""

    base_offset: int
    attributes: int
    last_delta: int
    first_timestamp: int
    max_timestamp: int
    count: int


def split(block: Block) -> tuple[MessageBatch, list[DeadLetter]]:
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
    size, next_offset = 0, 0
    for start, stop in bounds:
        try:
            batch = _check(block, start, stop, next_offset)
            if batch.attributes & _CONTROL:
                continue
            if plain:
                columns.append(batch, whole[start + _HEADER.size : stop], start + _HEADER.size)
            else:
                content = _content(block.data, start, stop, batch)
                columns.append(batch, np.frombuffer(content, np.uint8), size)
                contents.append(content)
                size += len(content)
        except BatchError as error:
            letters.append(batch_letter(block, start, stop, _base(block, start, stop), error))
        else:
            next_offset = batch.base_offset + batch.last_delta + 1
    data = whole if plain else np.frombuffer(b"".join(contents), np.uint8)
    return columns.records(block, data), letters


def cut(block: Block, starts: Sequence[int]) -> list[Block]:
    """As `cut_batches` promises."""

    def offsets(start: int, stop: int, next_offset: int) -> tuple[int, int]:
        batch = _check(block, start, stop, next_offset)
        return batch.base_offset, batch.base_offset + batch.last_delta

    return cut_batches(block, starts, _bounds(block.data), offsets, partial(_base, block))


def _bounds(data: bytes) -> list[tuple[int, int]]:
    """Where each batch starts and stops; the last one reaches to the end where its length cannot be."""
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


def _check(block: Block, start: int, stop: int, next_offset: int) -> _Batch:
    """The batch's header, if checksum, length and offsets (from `next_offset` on) are good. Raises BatchError."""
    if stop - start < _HEADER.size:
        raise BatchError(f"{stop - start} bytes are no record batch")
    header = _HEADER.unpack_from(block.data, start)
    base, length, _, magic, crc, attributes, last_delta, first_timestamp, max_timestamp, _, _, _, count = header
    if length + _PREFIX.size != stop - start:
        raise BatchError(f"the record batch says that it is {length} bytes long, {stop - start} are left")
    if magic != 2:
        raise BatchError(f"message format {magic} instead of 2")
    if google_crc32c.value(block.data[start + _CRC_FROM : stop]) != crc:
        raise BatchError("the CRC-32C of the record batch is wrong")
    if last_delta < 0 or base < next_offset or base >= block.stop or base + last_delta < block.first:
        raise BatchError(f"offsets {base} to {base + last_delta} are out of order or not of this block")
    if count < 0:
        raise BatchError(f"a count of {count} records")
    return _Batch(base, attributes, last_delta, first_timestamp, max_timestamp, count)


def _content(data: bytes, start: int, stop: int, batch: _Batch) -> bytes:
    body = memoryview(data)[start + _HEADER.size : stop]
    if not batch.attributes & _CODEC:
        return bytes(body)
    try:
        return decompress(batch.attributes & _CODEC, body, MAX_BATCH_BYTES)
    except CodecError as error:
        raise BatchError(str(error)) from error


def _base(block: Block, start: int, stop: int) -> int:
    """What a header says that may be corrupt."""
    return int(_PREFIX.unpack_from(block.data, start)[0]) if stop - start >= _PREFIX.size else block.first


class _Columns:
    """int64 columns of records that grow: `cells` has shape (_COLUMNS, capacity), of which `used` are filled."""

    def __init__(self, capacity: int) -> None:
        self.cells = np.empty((_COLUMNS, capacity), np.int64)
        self.used = 0
        self.server_times = False

    def append(self, batch: _Batch, content: NDArray[np.uint8], shift: int) -> None:
        """Add a batch's records, whose `content` begins at `shift` in the data of all; on BatchError none is added."""
        if batch.count * _LEAST_RECORD > len(content):
            raise BatchError(f"{batch.count} records do not fit in {len(content)} bytes")
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
            raise BatchError(PROBLEMS[problem])
        self.used = needed
        self.server_times |= fixed

    def records(self, block: Block, data: NDArray[np.uint8]) -> MessageBatch:
        """The records inside [first, stop) of the block; the columns are views of `cells`."""
        low, high = np.searchsorted(self.cells[0, : self.used], (block.first, block.stop))
        cells = self.cells[:, low:high]
        headers = headers_of(data, cells[_HEADERS_AT], cells[_HEADERS_COUNT], find_headers)
        offset, timestamp, key_at, key_len, value_at, value_len = cells[:_HEADERS_AT]
        return MessageBatch(
            block.topic,
            block.partition,
            block.first,
            block.stop,
            data,
            offset,
            timestamp,
            key_at,
            key_len,
            value_at,
            value_len,
            headers,
            server_times=self.server_times,
        )
