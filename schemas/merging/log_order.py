"""Positions for changes that their place in the log orders: snapshot rows and lone tombstones.

Such a change is newer than all that its connector sent before it in its partition, and older than all that it streams
afterwards. A streamed change that comes later with a lower position repeats one that came before. So the place of such
a change is one step above the highest streamed position before it: of what was committed from its partition and
connector, of what its worker has read (`_millrace_after`), and of the changes of its own key in the same window. That
is enough, for a repeated change repeats one of its own key.

Positions of two connectors are not compared. A tombstone does not name its connector: in a partition of several it
stands behind the changes of its own key in the window alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numba
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..loops import array, compile_ahead
from ..model.change import POSITION_WORDS

Words = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Committed:
    """What was committed before a window: the highest streamed positions, and the last TRUNCATE's.

    `highest` has by source number the position of each connector, by `connector_number`. `epochs` has by source number
    the beginnings of epochs, (offset, epoch) in the order of offsets, where there are any.
    """

    highest: Mapping[int, Mapping[int, bytes]] = field(default_factory=dict)
    truncate: bytes | None = None
    epochs: Mapping[int, tuple[tuple[int, int], ...]] = field(default_factory=dict)


def in_epochs(positions: Words, sources: NDArray[np.int32], committed: Committed) -> Words:
    """The positions, shape (n, 4), with the epoch of their offset in their partition as the first word.

    The delete half of a key change (source -1) does not tell its partition: it gets the largest epoch of its offset.
    """
    positions, alone = positions.copy(), sources < 0
    for source, begins in committed.epochs.items():
        offsets = np.array([offset for offset, _ in begins], np.uint64)
        numbers = np.array([0, *(epoch for _, epoch in begins)], np.uint64)
        for mine in (sources == source, alone):
            epochs = numbers[np.searchsorted(offsets, positions[mine, 3], side="right")]
            positions[mine, 0] = np.maximum(positions[mine, 0], epochs)
    return positions


def in_log_order(
    positions: Words, after: pa.Array, keys: NDArray[np.int32], sources: NDArray[np.int32], committed: Committed
) -> Words:
    """The positions, shape (n, 4), with those of the rows that have an `after` (`fixed_size_binary(24)`) raised.

    `keys` number the rows' keys, `sources` their partitions. A snapshot that was taken behind the last TRUNCATE, by its
    own position, is raised above it; the rows of an older one are left below.
    """
    base, known = np.zeros((len(positions), POSITION_WORDS), np.uint64), np.asarray(after.is_valid())
    raw = np.frombuffer(after.buffers()[1], ">u8", 3 * len(after), after.offset * 24).reshape(-1, 3)
    base[:, 0] = positions[:, 0]
    # What a worker read last may be of an earlier epoch: there its own key and what was committed tell enough.
    told = known & (positions[:, 0] == 0)
    base[told, 1:3] = raw[told, :2]
    for source, connectors in committed.highest.items():
        mine = (sources == source) & known
        for number, position in connectors.items():
            _raise_to(base, mine & ((raw[:, 2] == number) | (raw[:, 2] == 0)), position)
        if len(connectors) > 1:
            # A tombstone whose connector is unknown stands behind the changes of its own key alone.
            base[mine & (raw[:, 2] == 0), 1:3] = 0
    if committed.truncate is not None:
        _raise_to(base, ~_at_most(positions, committed.truncate), committed.truncate)
    order = np.lexsort((positions[:, 3], sources, keys))
    return _raised(positions, base, known, np.stack([keys, sources], axis=1), order)


def repeated(positions: Words, sources: NDArray[np.int32], committed: Committed) -> NDArray[np.bool_]:
    """Which changes are not above what was committed from their partition; those without a position never are.

    Of several connectors the lowest counts: what is new is above that of its own.
    """
    found = np.zeros(len(positions), np.bool_)
    for source, connectors in committed.highest.items():
        position = min(connectors.values())
        found |= (sources == source) & _at_most(positions, position) & (positions[:, 1:3] != 0).any(axis=1)
    return found


def _raise_to(base: Words, rows: NDArray[np.bool_], position: bytes) -> None:
    lower = rows & _at_most(base, position)
    base[lower, :3] = np.frombuffer(position, ">u8")[:3]


def _at_most(rows: Words, position: bytes) -> NDArray[np.bool_]:
    """Which rows are not above the position, by epoch, commit and inner order."""
    words = np.frombuffer(position, ">u8").astype(np.uint64)
    below, equal = np.zeros(len(rows), np.bool_), np.ones(len(rows), np.bool_)
    for word in range(3):
        below |= equal & (rows[:, word] < words[word])
        equal &= rows[:, word] == words[word]
    return below | equal


@compile_ahead((array(np.uint64, 2), array(np.uint64, 2), array(np.bool_), array(np.int32, 2), array(np.int64)))
@numba.njit(cache=True, nogil=True)
def _raised(positions, base, known, places, order):  # type: ignore[no-untyped-def]
    """`order` visits each key's rows of a partition by offset; `top` is the highest streamed position so far."""
    raised, top, before = positions.copy(), np.zeros(3, np.uint64), -1
    for row in order:
        if before < 0 or places[row, 0] != places[before, 0] or places[row, 1] != places[before, 1]:
            top[:] = 0
        before = row
        rival = base[row] if known[row] else positions[row]
        for word in range(3):
            if rival[word] != top[word]:
                if rival[word] > top[word]:
                    top[:] = rival[:3]
                break
        if known[row]:
            raised[row, :3] = top
            if top[1] or top[2]:
                raised[row, 2] += np.uint64(1)
    return raised
