"""The guard: a change is applied only where its position is larger than what the target holds of its key."""

from collections import Counter
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ....schemas.model.change import OP, POSITION, SOURCE, UPSERT
from .commit import Counts

Numbers = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Match:
    """Changes whose key the target holds: `row` is the change's number in the delta.

    `newer` and `same` say of each whether its position is above the held one, or equal to it. `same` is None where a
    target changes rows and tombstones in one transaction: then nobody needs it.
    """

    row: Numbers
    newer: Mask
    same: Mask | None = None


NOTHING: Final = Match(np.empty(0, np.int64), np.empty(0, np.bool_), np.empty(0, np.bool_))


@dataclass(frozen=True, slots=True)
class Verdict:
    """Which changes of the delta are accepted, which of these are upserts, and what the target holds of their keys.

    The masks have one value for each change of the delta, in its order.
    """

    accepted: Mask
    upserts: Mask
    rows: Match
    tombstones: Match
    counts: Counts

    @property
    def deletes(self) -> Mask:
        """The accepted deletes."""
        return self.accepted & ~self.upserts

    def held(self, match: Match) -> Mask:
        """The accepted changes whose key is in `match`."""
        held = np.zeros(len(self.accepted), np.bool_)
        held[match.row] = True
        return held & self.accepted


def _count(sources: NDArray[np.int32]) -> Counter[int]:
    """Changes by source number; -1, those that are not accounted, is left out."""
    return Counter({number - 1: int(rows) for number, rows in enumerate(np.bincount(sources + 1)) if number and rows})


def judge(delta: pa.Table, floor: bytes | None, rows: Match, tombstones: Match) -> Verdict:
    """Accept what is above the last TRUNCATE's position `floor`, and newer than the row and tombstone of its key.

    A delete whose own tombstone is there already, left by a commit that failed, is accepted while its row lives.
    """
    upserts = np.asarray(delta.column(OP)) == UPSERT
    accepted = np.ones(len(delta), np.bool_)
    if floor is not None:
        below = pc.less_equal(delta.column(POSITION).cast(pa.binary()), pa.scalar(floor, pa.binary()))
        accepted &= ~below.to_numpy()
    accepted[rows.row[~rows.newer]] = False
    refused = ~tombstones.newer
    if tombstones.same is not None:
        lives = np.zeros(len(delta), np.bool_)
        lives[rows.row] = True
        refused &= ~(tombstones.same & (lives & ~upserts)[tombstones.row])
    accepted[tombstones.row[refused]] = False
    source = np.asarray(delta.column(SOURCE))
    counts = Counts(_count(source[accepted]), _count(source[~accepted]))
    return Verdict(accepted, accepted & upserts, rows, tombstones, counts)


def above(mine: pa.Array, held: pa.Array | pa.Scalar) -> Mask:
    """Whether positions are larger than the held ones. A row without one was added by others: any change is newer."""
    return np.asarray(pc.fill_null(pc.greater(mine, held), True))


def at_most(held: pa.Array | pa.ChunkedArray, limit: bytes) -> Mask:
    """Which held rows a TRUNCATE at `limit` covers: those without a position too, which others added."""
    return np.asarray(pc.fill_null(pc.less_equal(held, pa.scalar(limit, pa.binary())), True))


def chosen(rows: pa.Table, mask: Mask) -> pa.Table:
    """The rows of the mask, without a copy where it is all of them."""
    return rows if mask.all() else rows.filter(pa.array(mask))
