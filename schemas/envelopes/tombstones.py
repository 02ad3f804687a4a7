"""Tombstones behind deletes: most follow their delete and say nothing new; a lone one is a delete.

Log compaction may remove a delete event and leave its tombstone. Such a lone tombstone has no source position: its
place in the log orders it, as it does snapshot rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numba
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..loops import array, compile_ahead, read_only
from ..model.epoch import Climb
from ..model.message_batch import MessageBatch
from ..model.position import Numbers
from ..model.snapshot_marks import ROWS, Marks, SnapshotMark, marks_joined
from ..model.source_mark import MOST_CONNECTORS, connector_number

Order = tuple[int, int]
Longs = NDArray[np.int64]

MOST_CLIMBS: Final = 256
STEP_BACK: Final = 1_000
"""Milliseconds: where a source's clock goes back by more, what follows may be an old change that comes again."""


@dataclass(frozen=True, slots=True)
class TombstoneContext:
    """What the changes of a block leave for its tombstones, by record: source order, and which were deletes.

    `connector` is by record a number in `connectors`, the names of the connectors that stand in the block, -1 for
    tombstones. `mark` tells the records with which a snapshot begins or ends.
    """

    commit: NDArray[np.uint64]
    inner: NDArray[np.uint64]
    placed: NDArray[np.bool_]
    deleted: NDArray[np.bool_]
    time: NDArray[np.int64]
    server: NDArray[np.int64]
    connector: NDArray[np.int32]
    mark: NDArray[np.int8]
    connectors: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, records: int) -> "TombstoneContext":
        return cls(
            np.zeros(records, np.uint64),
            np.zeros(records, np.uint64),
            np.zeros(records, np.bool_),
            np.zeros(records, np.bool_),
            np.full(records, -1, np.int64),
            np.full(records, -1, np.int64),
            np.full(records, -1, np.int32),
            np.zeros(records, np.int8),
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

    def note_connector(self, rows: Longs, connector: pa.DictionaryArray | None) -> None:
        """The connectors that wrote these records; those without a name (null, None) count as one, named ""."""
        names = [""] if connector is None else connector.dictionary.to_pylist()
        if connector is not None and connector.null_count:
            names.append("")
        numbers = np.array([self.connectors.setdefault(name, len(self.connectors)) for name in names], np.int32)
        if connector is not None and len(names) > 1:
            self.connector[rows] = numbers[np.asarray(connector.indices.fill_null(len(names) - 1))]
        else:
            self.connector[rows] = numbers[0]

    def numbers(self, rows: Longs) -> NDArray[np.uint64]:
        """`connector_number` of these records, 0 for tombstones."""
        numbers = np.array([*map(connector_number, self.connectors), 0], np.uint64)
        return numbers[self.connector[rows]]

    def snapshot_marks(self, offset: Longs, timestamp: Longs) -> dict[str, Marks]:
        """By connector where snapshots begin and end among these records."""
        found: dict[str, Marks] = {}
        names, rows = list(self.connectors), np.flatnonzero(self.mark)
        kinds, connectors = self.mark[rows], self.connector[rows]
        fresh = np.ones(len(rows), np.bool_)
        fresh[1:] = (kinds[1:] != kinds[:-1]) | (connectors[1:] != connectors[:-1])
        for row in rows[fresh | (kinds != ROWS)]:
            name = names[self.connector[row]]
            mark = SnapshotMark(int(self.mark[row]), int(offset[row]), int(timestamp[row]))
            found[name] = marks_joined(found.get(name, ()), (mark,))
        return found

    def climbs(self, offset: Longs) -> tuple[Climb, ...]:
        """By connector the stretches of these records in which its positions only grow.

        A stretch also ends where another server wrote what follows, or the clock goes back: a change of an earlier
        source that comes again is a stretch of its own, though its position may be above those before it.
        Connectors beyond what a mark keeps apart are left out, but for one: it is refused at the commit.
        """
        placed = np.flatnonzero(self.placed & ((self.commit != 0) | (self.inner != 0)))
        if len(self.connectors) < 2:
            return tuple(self._climbs(next(iter(self.connectors), ""), placed, offset))
        names, found = list(self.connectors), self.connector[placed]
        numbers = np.unique(found)[: MOST_CONNECTORS + 1]
        return tuple(climb for one in numbers for climb in self._climbs(names[one], placed[found == one], offset))

    def _climbs(self, connector: str, placed: Longs, offset: Longs) -> Iterator[Climb]:
        """Those of the records `placed`; what is more than `MOST_CLIMBS` ends in one."""
        if not len(placed):
            return
        commit, inner = self.commit[placed], self.inner[placed]
        time, server = self.time[placed], self.server[placed]
        falls = (commit[1:] < commit[:-1]) | ((commit[1:] == commit[:-1]) & (inner[1:] < inner[:-1]))
        falls |= (server[1:] != server[:-1]) | (time[1:] < time[:-1] - STEP_BACK)
        falls = np.flatnonzero(falls) + 1
        starts = np.r_[0, falls][:MOST_CLIMBS]
        stops = np.r_[starts[1:], len(placed)]
        tops = stops - 1
        if len(falls) >= MOST_CLIMBS:
            tops[-1] = starts[-1] + np.lexsort((inner[starts[-1] :], commit[starts[-1] :]))[-1]
        for start, stop, top in zip(starts, stops, tops, strict=True):
            yield Climb(
                connector,
                int(offset[placed[start]]),
                (int(commit[start]), int(inner[start])),
                (int(commit[top]), int(inner[top])),
                int(time[start]),
                int(time[start:stop].max()),
                int(server[start]),
                _servers(server[start:stop]),
                int(offset[placed[stop - 1]]),
            )


def _servers(server: Longs) -> tuple[int, ...]:
    """The known ones of these; nearly always there is one."""
    found = server[:1] if (server == server[0]).all() else np.unique(server)
    return tuple(int(one) for one in found if one >= 0)


def lone_tombstones(records: MessageBatch, rows: NDArray[np.int64], trail: TombstoneContext) -> NDArray[np.bool_]:
    """Which of the tombstones `rows` have no delete of the same key directly before them.

    The block's first record counts as accompanied where no offset is missing before it, unless it is known that it
    opens alone: Debezium sends a delete and its tombstone one after the other, so the delete ended the block before.
    """
    before = np.maximum(rows - 1, 0)
    same = _same_bytes(records.data, records.key_at, records.key_len, before, rows)
    follows = (rows > 0) & trail.deleted[before] & same
    opens = (rows == 0) & (records.offset[rows] == records.first) & (not records.opens_alone)
    return ~(follows | opens)


def highest_before(trail: TombstoneContext, reached: dict[str, Order]) -> NDArray[np.uint64]:
    """By record the highest (commit order, order inside it) of its connector that stands before it, as uint64 (n, 2).

    The connector of a tombstone is unknown: where there are several, it stands behind nothing. `reached` has the
    highest of each connector before the block, and afterwards at its end. Only records with a position of their own
    count.
    """
    known = trail.connectors.keys() | reached.keys()
    if len(known) < 2:
        return _highest_of(next(iter(known), ""), trail, trail.placed, reached)
    before = np.zeros((len(trail.commit), 2), np.uint64)
    names, streamed = list(trail.connectors), np.unique(trail.connector[trail.placed])[: MOST_CONNECTORS + 1]
    for name in {names[number] for number in streamed} | (trail.connectors.keys() & reached.keys()):
        mine = trail.connector == trail.connectors[name]
        before[mine] = _highest_of(name, trail, trail.placed & mine, reached)[mine]
    return before


def _highest_of(
    name: str, trail: TombstoneContext, placed: NDArray[np.bool_], reached: dict[str, Order]
) -> NDArray[np.uint64]:
    running = _running(trail.commit, trail.inner, placed, *(np.uint64(part) for part in reached.get(name, (0, 0))))
    if running[-1].any():
        reached[name] = (int(running[-1, 0]), int(running[-1, 1]))
    return running[:-1]


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
