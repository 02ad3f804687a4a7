"""Partial rows: unavailable values filled from older rows of the same key in the same window.

A key's changes in position order fall into lives: a delete ends one (a repeated delete ends the same one), a create
that a key change made begins one. A value is filled only from the same life.

What no row of the window holds is left to the target if the life is the key's first here. If the life began with a key
change, the row is one of the `new_key_rows`. Otherwise the value is NULL. A soft delete is a partial row as well: it
has the values of the row that it deletes.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..model.change import (
    DELETE,
    MOVED,
    OP,
    POSITION,
    POSITION_TYPE,
    SOURCE,
    UNAVAILABLE,
    UPSERT,
    masks_by_name,
    names_by_row,
    own_columns,
)
from ..model.modes import MODE_COLUMNS, Mode, mode_of
from ..model.position import by_position
from ..model.table import Table

MOVED_AT: Final = "_millrace_moved_at"

Index = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Filled:
    """The newest rows, `delta`, without those of a new key that lack values of the old one, `new_key_rows`.

    `old_key_rows` are the last rows of old keys. A row of a new key has `_millrace_moved` (the old key) and
    `_millrace_moved_at` (the position of the key change); so has a row of an old key whose own values stand in yet
    another key's row.
    """

    delta: pa.RecordBatch
    new_key_rows: pa.RecordBatch | None
    old_key_rows: pa.RecordBatch | None


@dataclass(frozen=True, slots=True)
class _Lives:
    """All rows in order of (key, position): `order` numbers them, the rest is by place in that order."""

    order: Index
    start: Index
    first: Mask
    origin: Index


def fill_partial(
    table: Table, rows: pa.RecordBatch, codes: NDArray[np.int32], positions: NDArray[np.uint64], newest: Index
) -> Filled:
    """Fill the `newest` rows from older rows of their key; `rows` are all changes of the window.

    Of a table of versions all rows are the newest ones; `codes` number the keys of the rows that they are versions of.
    """
    lives = _lives(rows, codes, positions)
    missing = _missing(rows, table)
    upserts = np.asarray(rows.column(OP)) == UPSERT
    soft = mode_of(table.columns.names) is Mode.SOFT_DELETE
    delta = _as_of(rows, lives, missing, newest, upserts[newest] | soft)
    lacking = np.asarray(delta.column(MOVED).is_valid()) & np.asarray(delta.column(UNAVAILABLE).is_valid())
    moved = np.asarray(rows.column(MOVED).is_valid())
    leaving = np.flatnonzero(moved & ~upserts)
    old_key_rows = _as_of(rows, lives, missing, leaving, ~upserts[leaving]) if len(leaving) else None
    new_key_rows = delta.filter(pa.array(lacking)) if lacking.any() else None
    others = delta.filter(pa.array(~lacking)) if lacking.any() else delta
    return Filled(others.drop_columns([MOVED, MOVED_AT]), new_key_rows, old_key_rows)


def _lives(rows: pa.RecordBatch, codes: NDArray[np.int32], positions: NDArray[np.uint64]) -> _Lives:
    order = by_position(positions, codes)
    places = np.arange(len(order))
    key_starts = np.r_[True, np.diff(codes[order]) != 0]
    deletes = np.asarray(rows.column(OP))[order] == DELETE
    moved = np.asarray(rows.column(MOVED).is_valid())[order] & ~deletes
    starts = key_starts | (np.r_[False, deletes[:-1]] & ~deletes) | moved
    start = np.maximum.accumulate(np.where(starts, places, 0))
    key_start = np.maximum.accumulate(np.where(key_starts, places, 0))
    origin = np.where(moved[start], start, -1)
    return _Lives(order, start, (start == key_start) & (origin < 0), origin)


def _missing(rows: pa.RecordBatch, table: Table) -> dict[str, Mask]:
    """By column, which rows do not say its value: unavailable ones and deletes."""
    deletes = np.asarray(rows.column(OP)) == DELETE
    masks = masks_by_name(rows)
    names = [name for name in table.columns.names if name not in table.key and name not in MODE_COLUMNS]
    return {name: deletes | masks[name] if name in masks else deletes for name in names}


def _as_of(
    rows: pa.RecordBatch, lives: _Lives, missing: dict[str, Mask], wanted: Index, partial: Mask
) -> pa.RecordBatch:
    """The rows `wanted`; `partial` ones with missing values from the newest row of their life that has them."""
    place_of = np.empty(len(lives.order), np.int64)
    place_of[lives.order] = np.arange(len(lives.order))
    places = place_of[wanted]
    columns: dict[str, pa.Array] = {name: rows.column(name).take(pa.array(wanted)) for name in own_columns(rows)}
    open_values: dict[str, Mask] = {}
    for name, mask in missing.items():
        needed = mask[wanted] & partial
        if not needed.any():
            continue
        ordered = mask[lives.order]
        last = np.maximum.accumulate(np.where(ordered, -1, np.arange(len(ordered))))[places]
        known = last >= lives.start[places]
        source = np.where(needed & known, lives.order[np.maximum(last, 0)], wanted)
        columns[name] = rows.column(name).take(pa.array(source))
        open_values[name] = needed & ~known & (lives.first[places] | (lives.origin[places] >= 0))
    origin = lives.origin[places]
    moved_rows = pa.array(np.where(origin >= 0, lives.order[np.maximum(origin, 0)], -1))
    moved_rows = pc.if_else(pc.less(moved_rows, 0), pa.scalar(None, pa.int64()), moved_rows)
    arrays = {
        **columns,
        OP: rows.column(OP).take(pa.array(wanted)),
        POSITION: rows.column(POSITION).take(pa.array(wanted)),
        SOURCE: rows.column(SOURCE).take(pa.array(wanted)),
        UNAVAILABLE: names_by_row(open_values, len(wanted)),
        MOVED: rows.column(MOVED).take(moved_rows),
        MOVED_AT: rows.column(POSITION).take(moved_rows).cast(POSITION_TYPE),
    }
    return pa.RecordBatch.from_pydict(arrays)
