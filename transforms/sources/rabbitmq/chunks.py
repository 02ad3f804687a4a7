"""A stream's chunks to columns of messages: one loop in Python for each chunk and sub-batch, none for each message.

Format: a chunk is what osiris, RabbitMQ's log, writes and delivers: a header, and entries that are messages or
sub-batches of messages, compressed or not. The offsets of its messages follow one another.
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ....schemas.model.block import Block
from ....schemas.model.dead_letter import DeadLetter
from ....schemas.model.message_batch import MessageBatch
from ..compression import CodecError, decompress
from ..log_batches import BatchError, batch_letter, cut_batches, headers_of
from .amqp_messages import IN_ANNOTATIONS, IN_APPLICATION, IN_PROPERTIES, PROBLEMS, find_headers, find_runs, walk
from .chunk_header import HEADER, MAGIC, Header, chunk_bounds
from .options import KEY

MAX_SUB_BATCH_BYTES: Final = 128 << 20
"""The most that one sub-batch may hold when decompressed."""
_LEAST_ENTRY: Final = 4
_PROPERTIES: Final = (
    *("message_id", "user_id", "to", "subject", "reply_to", "correlation_id", "content_type", "content_encoding"),
    *("absolute_expiry_time", "creation_time", "group_id", "group_sequence", "reply_to_group_id"),
)
"""The properties section of AMQP 1.0, in its order."""


@dataclass(frozen=True, slots=True)
class KeyPlace:
    """Where a message has its key, as `amqp_messages.walk` takes it; with `raw` a message has none."""

    wanted: NDArray[np.int64]
    name: NDArray[np.uint8]
    raw: bool = False


def key_place(key: str, body: str) -> KeyPlace:
    """The place that `source.key` names."""
    found = KEY.fullmatch(key)
    section, index, name = IN_PROPERTIES, -1, b""
    if found is not None and found[1]:
        index = _PROPERTIES.index(found[1])
    elif found is not None:
        section = IN_APPLICATION if found[2] == "application_properties" else IN_ANNOTATIONS
        name = found[3].encode()
    return KeyPlace(np.array([section, index], np.int64), np.frombuffer(name, np.uint8), body == "raw")


class _Run(NamedTuple):
    """Messages that stand one behind the other, each its length and its bytes."""

    content: NDArray[np.uint8]
    messages: int


def split(block: Block, place: KeyPlace) -> tuple[MessageBatch, list[DeadLetter]]:
    """The messages of a block inside [first, stop), and a dead letter for each message or chunk that is corrupt.

    A chunk that is corrupt is one dead letter: the chunk as it came, at its first offset inside [first, stop). A
    message that is no AMQP 1.0, or has a key or body that is neither text nor bytes, is one by itself.
    """
    whole = np.frombuffer(block.data, np.uint8)
    contents: list[NDArray[np.uint8]] = []
    cells: list[NDArray[np.int64]] = []
    problems: list[NDArray[np.int64]] = []
    letters: list[DeadLetter] = []
    size, next_offset = 0, 0
    for start, stop in chunk_bounds(block.data):
        try:
            header = _check(block, start, stop, next_offset)
            runs = list(_runs(whole[start + HEADER.size : stop], header))
            found, wrong = _walked(runs, header, place, size)
        except BatchError as error:
            letters.append(batch_letter(block, start, stop, _base(block, start, stop), error))
            continue
        next_offset = header.stop
        contents += [run.content for run in runs]
        size += sum(len(run.content) for run in runs)
        cells.append(found)
        problems.append(wrong)
    data = np.concatenate(contents) if contents else np.empty(0, np.uint8)
    # Loops over bytes are compiled for what is read only.
    data.flags.writeable = False
    columns = np.concatenate(cells, axis=1) if cells else np.empty((8, 0), np.int64)
    wrong = np.concatenate(problems) if problems else np.empty(0, np.int64)
    return _messages(block, data, columns, wrong, letters)


def cut(block: Block, starts: Sequence[int]) -> list[Block]:
    """As `cut_batches` promises."""

    def offsets(start: int, stop: int, next_offset: int) -> tuple[int, int]:
        header = _check(block, start, stop, next_offset)
        list(_runs(np.frombuffer(block.data, np.uint8, stop - start - HEADER.size, start + HEADER.size), header))
        return header.first, header.stop - 1

    return cut_batches(block, starts, chunk_bounds(block.data), offsets, partial(_base, block))


def _check(block: Block, start: int, stop: int, next_offset: int) -> Header:
    """The chunk's header, if checksum, length and offsets (from `next_offset` on) are good. Raises BatchError."""
    data = block.data
    if stop - start < HEADER.size:
        raise BatchError(f"{stop - start} bytes are no chunk")
    header = Header(*HEADER.unpack_from(data, start))
    if header.magic != MAGIC or header.kind != 0:
        raise BatchError(f"a chunk of the format {header.magic:#x} and kind {header.kind}")
    if header.length != stop - start - HEADER.size:
        raise BatchError(f"the chunk says that it is {header.length} bytes long, {stop - start - HEADER.size} came")
    if zlib.crc32(memoryview(data)[start + HEADER.size : stop]) != header.crc:
        raise BatchError("the CRC-32 of the chunk is wrong")
    if header.first < next_offset or header.first >= block.stop or header.stop <= block.first:
        raise BatchError(f"offsets {header.first} to {header.stop - 1} are out of order or not of this block")
    if header.entries * _LEAST_ENTRY > header.length:
        raise BatchError(f"{header.entries} entries do not fit in {header.length} bytes")
    return header


def _runs(content: NDArray[np.uint8], header: Header) -> Iterator[_Run]:
    """The chunk's messages, in order, decompressed. Raises BatchError."""
    cells = np.empty((5, header.entries), np.int64)
    count = find_runs(content, header.entries, cells)
    if count < 0:
        raise BatchError("its entries are not as long as they say")
    if int(cells[2, :count].sum()) != header.records:
        raise BatchError(f"{int(cells[2, :count].sum())} messages, where it says {header.records}")
    for at, length, messages, codec, size in cells[:, :count].T.tolist():
        part = content[at : at + length]
        if codec > 0:
            try:
                plain = decompress(codec, part.data, min(size, MAX_SUB_BATCH_BYTES))
            except CodecError as error:
                raise BatchError(str(error)) from error
            part = np.frombuffer(plain, np.uint8)
        if messages * _LEAST_ENTRY > len(part):
            raise BatchError(f"{messages} messages do not fit in {len(part)} bytes")
        yield _Run(part, messages)


def _walked(
    runs: Sequence[_Run], header: Header, place: KeyPlace, shift: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Offset, time and what `walk` fills (int64, 8 rows), and each message's problem. Raises BatchError."""
    cells = np.empty((8, header.records), np.int64)
    problems = np.zeros(header.records, np.int64)
    cells[0], cells[1] = np.arange(header.first, header.stop), header.timestamp
    row = 0
    for run in runs:
        rows = slice(row, row + run.messages)
        if walk(run.content, shift, place.wanted, place.name, place.raw, cells[2:, rows], problems[rows]):
            raise BatchError("its messages are not as long as they say")
        row, shift = rows.stop, shift + len(run.content)
    return cells, problems


def _messages(
    block: Block,
    data: NDArray[np.uint8],
    cells: NDArray[np.int64],
    problems: NDArray[np.int64],
    letters: list[DeadLetter],
) -> tuple[MessageBatch, list[DeadLetter]]:
    """The messages inside [first, stop) of the block that are good; the others are added to the dead letters."""
    inside = (cells[0] >= block.first) & (cells[0] < block.stop)
    for i in np.flatnonzero(inside & (problems != 0)):
        offset, timestamp, _, _, at, length = cells[:6, i].tolist()
        value = data[at : at + length].tobytes()
        why = PROBLEMS[int(problems[i])]
        letters.append(DeadLetter(block.topic, block.partition, offset, timestamp, None, value, None, "split", why))
    kept = cells if inside.all() and not problems.any() else cells[:, inside & (problems == 0)]
    headers = headers_of(data, kept[6], kept[7], find_headers)
    offset, timestamp, key_at, key_len, value_at, value_len = kept[:6]
    found = MessageBatch(
        topic=block.topic,
        partition=block.partition,
        first=block.first,
        stop=block.stop,
        data=data,
        offset=offset,
        timestamp=timestamp,
        key_at=key_at,
        key_len=key_len,
        value_at=value_at,
        value_len=value_len,
        headers=headers,
        server_times=True,
    )
    return found, letters


def _base(block: Block, start: int, stop: int) -> int:
    """What a header says that may be corrupt."""
    return Header(*HEADER.unpack_from(block.data, start)).first if stop - start >= HEADER.size else block.first
