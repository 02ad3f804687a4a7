"""The guard: a change is applied only where its position is larger than what the target holds of its key."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ....schemas.model.change import OP, POSITION, SOURCE, UNAVAILABLE, UPSERT

Numbers = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Match:
    """Rows of the delta whose key is held, by number, and whether the delta's position is newer."""

    row: Numbers
    newer: Mask


NOTHING: Final = Match(np.empty(0, np.int64), np.empty(0, np.bool_))


@dataclass(frozen=True, slots=True)
class Verdict:
    """Which rows of the delta are applied, which of these are upserts, and what the target holds of their keys."""

    accepted: Mask
    upserts: Mask
    rows: Match
    tombstones: Match

    @property
    def deletes(self) -> Mask:
        return self.accepted & ~self.upserts

    def held(self, match: Match) -> Mask:
        """The accepted rows whose key is in `match`."""
        held = np.zeros(len(self.accepted), np.bool_)
        held[match.row] = True
        return held & self.accepted

    def counts(self, delta: pa.Table) -> tuple[Counter[int], Counter[int]]:
        """(applied, superseded) by source number."""
        source = np.asarray(delta.column(SOURCE))
        return _count(source[self.accepted]), _count(source[~self.accepted])


def _count(sources: NDArray[np.int32]) -> Counter[int]:
    return Counter({number - 1: int(rows) for number, rows in enumerate(np.bincount(sources + 1)) if number and rows})


def judge(delta: pa.Table, floor: bytes | None, rows: Match, tombstones: Match) -> Verdict:
    """Accept what is above the last TRUNCATE's position `floor` and newer than every match."""
    accepted = np.ones(len(delta), np.bool_)
    if floor is not None:
        below = pc.less_equal(delta.column(POSITION).cast(pa.binary()), pa.scalar(floor, pa.binary()))
        accepted &= ~below.to_numpy()
    for match in (rows, tombstones):
        accepted[match.row[~match.newer]] = False
    return Verdict(accepted, accepted & (np.asarray(delta.column(OP)) == UPSERT), rows, tombstones)


def partial_rows(delta: pa.Table) -> Mask:
    """Rows that name unavailable columns."""
    if UNAVAILABLE not in delta.column_names:
        return np.zeros(len(delta), np.bool_)
    return pc.greater(pc.fill_null(pc.list_value_length(delta.column(UNAVAILABLE)), 0), 0).to_numpy()


def filled_from(held: pa.Table, place: Numbers, masks: Mapping[str, Mask], rows: pa.Table) -> pa.Table:
    """The rows with the values of each column's mask taken from `held`: its row at `place`, NULL where that is -1."""
    for name, mask in masks.items():
        at = rows.schema.get_field_index(name)
        field = rows.schema.field(at)
        number = np.where(mask, len(rows) + place, np.arange(len(rows)))
        chunks = [*rows.column(at).chunks, *(chunk.cast(field.type) for chunk in held.column(name).chunks)]
        values = pa.chunked_array(chunks, field.type).take(pa.array(number, mask=mask & (place < 0)))
        rows = rows.set_column(at, field, values)
    return rows


def chosen(rows: pa.Table, mask: Mask) -> pa.Table:
    """The rows of the mask, without a copy where it is all of them."""
    return rows if mask.all() else rows.filter(pa.array(mask))
