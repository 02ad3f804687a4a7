"""Blocks of batches of messages, one after another (Kafka's record batches, RabbitMQ's chunks): what is the same."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...schemas.model.block import Block
from ...schemas.model.dead_letter import DeadLetter
from ...schemas.model.message_batch import Headers


class BatchError(Exception):
    """This batch becomes a dead letter."""


def batch_letter(block: Block, start: int, stop: int, base: int, error: BatchError) -> DeadLetter:
    """The batch as it came, at its `base` offset, moved into [first, stop) of the block."""
    offset = min(max(base, block.first), block.stop - 1)
    value = block.data[start:stop]
    return DeadLetter(block.topic, block.partition, offset, -1, None, value, None, "split", f"{error}")


def cut_batches(
    block: Block,
    starts: Sequence[int],
    bounds: Iterable[tuple[int, int]],
    offsets: Callable[[int, int, int], tuple[int, int]],
    base: Callable[[int, int], int],
) -> list[Block]:
    """The block cut at these offsets, the first of which is its own.

    Splitting the pieces yields the same records as splitting the block. A batch that reaches over a cut is in both
    pieces. A corrupt batch, whose header may say anything, is in one alone: it is one dead letter.

    `bounds` are where each batch starts and stops in the data. `offsets` gives of one its first and last offset, by
    where it starts and stops and the next offset that may come, or raises BatchError; `base` is the offset that the
    header of a corrupt one says.
    """
    stops = [*starts[1:], block.stop]
    found: list[list[bytes]] = [[] for _ in starts]
    next_offset = 0
    for start, stop in bounds:
        try:
            low, high = offsets(start, stop, next_offset)
            next_offset = high + 1
        except BatchError as error:
            # Not before the good batch in front of it: out of order here, it must not look in order in another piece.
            offset = batch_letter(block, start, stop, base(start, stop), error).offset
            low = high = min(max(offset, next_offset - 1), block.stop - 1)
        for part, first, end in zip(found, starts, stops, strict=True):
            if low < end and high >= first:
                part.append(block.data[start:stop])
    return block.pieces(starts, [b"".join(part) for part in found])


def headers_of(
    data: NDArray[np.uint8], at: NDArray[np.int64], count: NDArray[np.int64], find: Callable[..., Any]
) -> Headers | None:
    """Headers of all messages, one after the other; those of message i are [first[i], first[i + 1]).

    `find` fills four rows: where name and value of each begin, and their lengths.
    """
    if not count.any():
        return None
    first = np.concatenate(([0], np.cumsum(count)))
    cells = np.empty((4, int(first[-1])), np.int64)
    find(data, at, first, cells)
    return Headers(first, *cells)
