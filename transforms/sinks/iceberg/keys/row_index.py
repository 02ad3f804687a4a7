"""Where the live row of each key stands: a hash table from digests to places, kept between commits.

A place is `file << 32 | row`: the file's number in its layout, and the row in the file. The table is three arrays of
slots (both halves of the digest, the place) with linear probing: a key is in the slot that its digest names, or in one
of those after it, before the first FREE one. A removed row leaves DEAD, so that searches go on after it. A slot takes
17 bytes where keys are whole numbers, 24 for any other; BYTES_A_ROW is what a row may come to.
"""

from collections.abc import Iterable
from typing import Any, Final

import numba
import numpy as np
from numpy.typing import NDArray

from .....schemas.loops import array, compile_ahead
from .digests import SECRET, Digests

Numbers = NDArray[np.int64]

FREE: Final = -1
DEAD: Final = -2
ROW_BITS: Final = 32
FULLEST: Final = 0.7
"""The share of slots in use from which the table grows."""
ROOM: Final = 1.2
"""Rows for which a new table has room, for each that it takes over."""
BYTES_A_ROW: Final = 30
ODD: Final = np.uint64(int(SECRET[0]) | 1)


def places(number: int, rows: Numbers) -> Numbers:
    """The places of these rows of one file."""
    return (np.int64(number) << ROW_BITS) | rows


class RowIndex:
    """Several rows of one key may be in it: `find` returns all of them.

    `_used` counts slots that are not FREE, `_dead` those of them that are DEAD.
    """

    def __init__(self, rows: int = 0) -> None:
        self._used = self._dead = 0
        self._allot(max(64, int(rows / FULLEST) + 1), np.dtype(np.uint8))

    def _allot(self, slots: int, low: np.dtype[Any]) -> None:
        self._high = np.zeros(slots, np.uint64)
        self._low = np.zeros(slots, low)
        self._place = np.full(slots, FREE, np.int64)

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return self._high.nbytes + self._low.nbytes + self._place.nbytes

    def fits(self, rows: int, memory: int) -> bool:
        """Whether so many rows more stay below `memory` bytes."""
        return (self._used - self._dead + rows) * BYTES_A_ROW <= memory

    def add(self, keys: Digests, where: Numbers) -> None:
        """Add rows that are not in it."""
        if self._used + len(keys) > FULLEST * len(self._high) or self._low.dtype != keys.low.dtype:
            self._grow(len(keys), keys.low.dtype)
        taken = _insert(keys.high, keys.low, where, self._high, self._low, self._place, ODD)
        self._used, self._dead = self._used + taken, self._dead - (len(keys) - taken)

    def _grow(self, more: int, low: np.dtype[Any]) -> None:
        live = self._place >= 0
        high, held, place = self._high[live], self._low[live], self._place[live]
        self._allot(max(64, int(ROOM * (len(high) + more) / FULLEST) + 1), low)
        self._dead = 0
        self._used = _insert(high, held.astype(low), place, self._high, self._low, self._place, ODD)

    def find(self, keys: Digests) -> tuple[Numbers, Numbers]:
        """(row of `keys`, slot) of each row that has one of the keys."""
        if not self._used or self._low.dtype != keys.low.dtype:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        found = _find(keys.high, keys.low, self._high, self._low, self._place, ODD)
        return found[0], found[1]

    def at(self, slots: Numbers) -> Numbers:
        """The places in these slots."""
        return self._place[slots]

    def remove(self, slots: Numbers) -> None:
        """Forget the rows in these slots, which no `add` has moved since they were found."""
        self._place[slots] = DEAD
        self._dead += len(slots)

    def forget(self, files: Iterable[int]) -> None:
        """Forget all rows of these files."""
        gone = np.isin(self._place >> ROW_BITS, np.fromiter(files, np.int64)) & (self._place >= 0)
        self._place[gone] = DEAD
        self._dead += int(gone.sum())


@numba.njit(cache=True, nogil=True)
def _slot(high, low, count, odd):  # type: ignore[no-untyped-def]
    """The first of `count` slots for a digest.

    Whole numbers are no hashes: they are mixed with a secret odd factor, or their order would fill slots in clusters.
    Multiplying 32 bits by `count` and shifting maps them to [0, count) without a division.
    """
    mixed = (high ^ (np.uint64(low) << np.uint64(1))) * odd
    mixed = (mixed ^ (mixed >> np.uint64(32))) * np.uint64(0x9E3779B97F4A7C15)
    return np.int64(((mixed >> np.uint64(32)) * np.uint64(count)) >> np.uint64(32))


@compile_ahead(
    (
        array(np.uint64),
        array(np.uint8),
        array(np.int64),
        array(np.uint64),
        array(np.uint8),
        array(np.int64),
        np.uint64(1),
    ),
    (
        array(np.uint64),
        array(np.uint64),
        array(np.int64),
        array(np.uint64),
        array(np.uint64),
        array(np.int64),
        np.uint64(1),
    ),
)
@numba.njit(cache=True, nogil=True)
def _insert(high, low, where, highs, lows, place, odd):  # type: ignore[no-untyped-def]
    """Put each digest into a DEAD slot of its own key, else into the next FREE one; how many free ones were taken."""
    count, taken = len(place), 0
    for row in range(len(high)):
        at = _slot(high[row], low[row], count, odd)
        while place[at] != FREE and not (place[at] == DEAD and highs[at] == high[row] and lows[at] == low[row]):
            at = at + 1 if at + 1 < count else 0
        taken += place[at] == FREE
        highs[at], lows[at], place[at] = high[row], low[row], where[row]
    return taken


@compile_ahead(
    (array(np.uint64), array(np.uint8), array(np.uint64), array(np.uint8), array(np.int64), np.uint64(1)),
    (array(np.uint64), array(np.uint64), array(np.uint64), array(np.uint64), array(np.int64), np.uint64(1)),
)
@numba.njit(cache=True, nogil=True)
def _find(high, low, highs, lows, place, odd):  # type: ignore[no-untyped-def]
    """(row of the digests, slot) of each match, in the order of the digests; a digest may match several slots."""
    count, found = len(place), 0
    rows, slots = np.empty(len(high) + 16, np.int64), np.empty(len(high) + 16, np.int64)
    for row in range(len(high)):
        at = _slot(high[row], low[row], count, odd)
        while place[at] != FREE:
            if place[at] >= 0 and highs[at] == high[row] and lows[at] == low[row]:
                if found == len(rows):
                    rows, slots = np.concatenate((rows, rows)), np.concatenate((slots, slots))
                rows[found], slots[found] = row, at
                found += 1
            at = at + 1 if at + 1 < count else 0
    return rows[:found], slots[:found]
