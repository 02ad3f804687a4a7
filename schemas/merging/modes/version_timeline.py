"""The timeline of a key (`mode: scd2`): which change ends which version, whatever the order in which changes come.

The changes of a key, in the order of their positions, are a line of events. An upsert begins a version, which the next
event ends; a delete only ends one. What the target holds of a key joins the line: its versions, and the end of each.
So each commit puts the line right around its own changes, and a change that comes late finds its place.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...model.change import (
    OP,
    POSITION,
    UPSERT,
)
from ...model.key import number_keys
from ...model.modes import DELETED, MOMENT, VALID_FROM, VALID_TO, VERSION
from ...model.position import by_position, from_hexadecimal, unpack
from ...model.table import Table

Index = NDArray[np.int64]
Mask = NDArray[np.bool_]

HELD_COLUMNS: Final = (VERSION, VALID_FROM, VALID_TO, DELETED, POSITION)
NEVER: Final = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True)
class VersionTimeline:
    """The events of all keys, by key and position.

    `row` numbers the change among the delta's rows, `held` the version among the target's, -1 where it is not there;
    `known` is what the target tells, as a version or as the end of one. `keys` numbers the key columns in delta and
    target joined, `time` is in milliseconds, `next` and `before` number the neighbours of the same key, -1 where there
    is none.
    """

    words: NDArray[np.uint64]
    upsert: Mask
    row: Index
    held: Index
    known: Mask
    keys: Index
    time: Index
    next: Index
    before: Index


@dataclass(frozen=True, slots=True)
class _Events:
    """Events of delta and target one after the other, as `VersionTimeline` has them; of equal ones the first counts."""

    codes: Index
    words: NDArray[np.uint64]
    upsert: Mask
    row: Index
    held: Index
    keys: Index
    time: Index


def stream_key(table: Table) -> tuple[str, ...]:
    """The key of the row that a version is of."""
    return tuple(name for name in table.key if name != VERSION)


def line_up(table: Table, rows: pa.RecordBatch, held: pa.Table) -> VersionTimeline:
    """Order the changes `rows` and what the target holds of their keys (stream's key and `HELD_COLUMNS`)."""
    events = _events(table, rows, held)
    # `codes` number the keys, `words` are positions in four numbers: by key, then by position.
    order = by_position(events.words, events.codes)
    codes, words = events.codes[order], events.words[order]
    new_key = np.r_[True, codes[1:] != codes[:-1]]
    fresh = new_key | np.r_[True, (words[1:] != words[:-1]).any(axis=1)]
    starts, event = np.flatnonzero(fresh), np.cumsum(fresh) - 1
    first = order[starts]
    row, at = np.full(len(starts), -1), np.full(len(starts), -1)
    np.maximum.at(row, event, events.row[order])
    np.maximum.at(at, event, events.held[order])
    known = np.zeros(len(starts), np.bool_)
    known[event[events.row[order] < 0]] = True
    place, opens = np.arange(len(starts)), new_key[starts]
    return VersionTimeline(
        words=words[starts],
        upsert=events.upsert[first],
        row=row,
        held=at,
        known=known,
        keys=events.keys[first],
        time=events.time[first],
        next=np.where(np.r_[opens[1:], True], -1, place + 1),
        before=np.where(opens, -1, place - 1),
    )


def _events(table: Table, rows: pa.RecordBatch, held: pa.Table) -> _Events:
    count, versions = rows.num_rows, len(held)
    codes, _ = number_keys([joined(rows, held, name) for name in stream_key(table)])
    ends = unpack(held.column(POSITION).combine_chunks())
    deleted = np.asarray(held.column(DELETED).combine_chunks().fill_null(False))
    ended = np.flatnonzero(~deleted & (ends != 0).any(axis=1))
    none = np.full(len(ended), -1)
    at = count + np.arange(versions)
    return _Events(
        codes=np.r_[codes[count:], codes[:count], codes[count:][ended]].astype(np.int64),
        words=np.concatenate(
            [from_hexadecimal(held.column(VERSION).combine_chunks()), unpack_versions(rows), ~ends[ended]]
        ),
        upsert=np.r_[~deleted, np.asarray(rows.column(OP)) == UPSERT, np.zeros(len(ended), np.bool_)],
        row=np.r_[np.full(versions, -1), np.arange(count), none],
        held=np.r_[np.arange(versions), np.full(count, -1), none],
        keys=np.r_[at, np.arange(count), at[ended]],
        time=np.r_[
            _times(held.column(VALID_FROM)), _times(rows.column(VALID_FROM)), _times(held.column(VALID_TO))[ended]
        ],
    )


def unpack_versions(rows: pa.RecordBatch) -> NDArray[np.uint64]:
    """The positions that `_millrace_version` writes."""
    return from_hexadecimal(rows.column(VERSION))


def joined(rows: pa.RecordBatch, held: pa.Table, name: str) -> pa.Array:
    """A column of the delta and then of the target, of the delta's type."""
    kind = rows.schema.field(name).type
    return pa.concat_arrays([rows.column(name), held.column(name).combine_chunks().cast(kind)])


def _times(moments: pa.Array | pa.ChunkedArray) -> Index:
    whole = moments.combine_chunks() if isinstance(moments, pa.ChunkedArray) else moments
    return np.asarray(whole.cast(MOMENT).cast(pa.int64()).fill_null(NEVER))


def version_before(line: VersionTimeline, events: Index) -> Index:
    """The number of the target's version whose values the row had before each of these events, -1 where it had none."""
    place = np.arange(len(line.upsert))
    base = np.maximum.accumulate(np.where(line.upsert & (line.held >= 0), place, -1))
    life = np.maximum.accumulate(np.where((line.before < 0) | ~line.upsert, place, 0))
    found = base[events]
    return np.where(found >= life[events], line.held[np.maximum(found, 0)], -1)
