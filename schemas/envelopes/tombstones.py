"""Tombstones behind deletes: most follow their delete and say nothing new; a lone one is a delete.

Log compaction may remove a delete event and leave its tombstone. Such a lone tombstone has no source position: its
place in the log orders it, as it does snapshot rows.
"""

from dataclasses import dataclass
from typing import Final

import numba
import numpy as np
from numpy.typing import NDArray

from ..loops import array, compile_ahead, read_only
from ..model.message_batch import MessageBatch
from ..model.position import Numbers
from ..model.source_mark import Climb

Order = tuple[int, int]
Longs = NDArray[np.int64]

MOST_CLIMBS: Final = 256


@dataclass(frozen=True, slots=True)
class TombstoneContext:
    """What the changes of a block leave for its tombstones, by record: source order, and which were deletes."""

    commit: NDArray[np.uint64]
    inner: NDArray[np.uint64]
    placed: NDArray[np.bool_]
    deleted: NDArray[np.bool_]
    time: NDArray[np.int64]
    server: NDArray[np.int64]

    @classmethod
    def of(cls, records: int) -> "TombstoneContext":
        return cls(
            np.zeros(records, np.uint64),
            np.zeros(records, np.uint64),
            np.zeros(records, np.bool_),
            np.zeros(records, np.bool_),
            np.full(records, -1, np.int64),
            np.full(records, -1, np.int64),
        )

    def note(self, rows: NDArray[np.int64], order: Numbers, placed: NDArray[np.bool_]) -> None:
        """The source order of these records, where it could be read."""
        self.commit[rows], self.inner[rows] = order
        self.placed[rows] = placed

    def note_source(self, rows: NDArray[np.int64], time: Longs | None, server: Longs | None) -> None:
        """The source's clock and the server of these records, where the envelope tells them."""
        if time is not None:
            self.time[rows] = time
        if server is not None:
            self.server[rows] = server

    def climbs(self, offset: NDArray[np.int64]) -> tuple[Climb, ...]:
        """The stretches of these records in which positions only grow; more than `MOST_CLIMBS` end in one."""
        placed = np.flatnonzero(self.placed & ((self.commit != 0) | (self.inner != 0)))
        if not len(placed):
            return ()
        commit, inner, time, server = (part[placed] for part in (self.commit, self.inner, self.time, self.server))
        falls = (commit[1:] < commit[:-1]) | ((commit[1:] == commit[:-1]) & (inner[1:] < inner[:-1]))
        starts = np.r_[0, np.flatnonzero(falls) + 1][:MOST_CLIMBS]
        stops = np.r_[starts[1:], len(placed)]
        return tuple(
            Climb(
                int(offset[placed[start]]),
                (int(commit[start]), int(inner[start])),
                (int(commit[stop - 1]), int(inner[stop - 1])),
                int(time[start]),
                int(time[start:stop].max()),
                int(server[start]),
            )
            for start, stop in zip(starts, stops, strict=True)
        )

    def servers(self) -> tuple[int, ...]:
        """The servers that wrote these records."""
        return tuple(int(one) for one in np.unique(self.server[self.placed & (self.server >= 0)]))


def lone_tombstones(records: MessageBatch, rows: NDArray[np.int64], trail: TombstoneContext) -> NDArray[np.bool_]:
    """Which of the tombstones `rows` have no delete of the same key directly before them.

    The block's first record counts as accompanied where no offset is missing before it: Debezium sends a delete
    and its tombstone one after the other, so the delete ended the block before.
    """
    before = np.maximum(rows - 1, 0)
    same = _same_bytes(records.data, records.key_at, records.key_len, before, rows)
    follows = (rows > 0) & trail.deleted[before] & same
    opens = (rows == 0) & (records.offset[rows] == records.first)
    return ~(follows | opens)


def highest_before(trail: TombstoneContext, known: Order) -> tuple[NDArray[np.uint64], Order]:
    """By record the highest (commit order, order inside it) that stands before it, and that of all, as uint64 (n, 2).

    `known` is the highest before the block. Only records with a position of their own count.
    """
    running = _running(trail.commit, trail.inner, trail.placed, *(np.uint64(part) for part in known))
    return running[:-1], (int(running[-1, 0]), int(running[-1, 1]))


@compile_ahead((read_only(np.uint8), array(np.int64), array(np.int64), array(np.int64), array(np.int64)))
@numba.njit(cache=True, nogil=True)
def _same_bytes(data, at, length, left, right):  # type: ignore[no-untyped-def]
    same = np.ones(len(left), np.bool_)
    for i in range(len(left)):
        a, b = at[left[i]], at[right[i]]
        same[i] = length[left[i]] == length[right[i]]
        for k in range(length[right[i]] if same[i] else 0):
            if data[a + k] != data[b + k]:
                same[i] = False
                break
    return same


@compile_ahead((array(np.uint64), array(np.uint64), array(np.bool_), np.uint64(0), np.uint64(0)))
@numba.njit(cache=True, nogil=True)
def _running(commit, inner, placed, top, top_inner):  # type: ignore[no-untyped-def]
    found = np.empty((len(commit) + 1, 2), np.uint64)
    for row in range(len(commit)):
        found[row, 0], found[row, 1] = top, top_inner
        if placed[row] and (commit[row] > top or (commit[row] == top and inner[row] > top_inner)):
            top, top_inner = commit[row], inner[row]
    found[len(commit), 0], found[len(commit), 1] = top, top_inner
    return found
