"""Versions of rows (`mode: scd2`): which change ends which version, whatever the order in which changes come.

The changes of a key, in the order of their positions, are a line of events. An upsert begins a version, which the next
event ends; a delete only ends one. What the target holds of a key joins the line: its versions, and the end of each.
So each commit puts the line right around its own changes, and late ones find their place.

A version's row is guarded by its end: `_millrace_position` is zero while the version is current, else the complement of
the position that ended it. The later the news of an earlier end, the larger; a replay says nothing larger. A delete
that ends a version leaves no row: the version's end is its position. One that ends none, because no version stands
before it, is a row with `_millrace_deleted`, so that a late upsert finds its end; its guard is the position before it
(zero where there is none), which late changes can only bring nearer. Once a version stands there, the row goes.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..model.change import (
    CHANGE_FIELDS,
    DELETE,
    OP,
    POSITION,
    SOURCE,
    UNAVAILABLE,
    UNAVAILABLE_TYPE,
    UPSERT,
    names_by_row,
)
from ..model.key import number_keys
from ..model.modes import DELETED, IS_CURRENT, MODE_COLUMNS, MOMENT, VALID_FROM, VALID_TO, VERSION
from ..model.position import by_position, from_hexadecimal, pack_words, to_hexadecimal, unpack
from ..model.table import Table

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
class _Told:
    """Events as delta and target tell them, one after the other; of equal ones the first counts."""

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
    told = _told(table, rows, held)
    order = by_position(told.words, told.codes)
    codes, words = told.codes[order], told.words[order]
    new_key = np.r_[True, codes[1:] != codes[:-1]]
    fresh = new_key | np.r_[True, (words[1:] != words[:-1]).any(axis=1)]
    starts, event = np.flatnonzero(fresh), np.cumsum(fresh) - 1
    first = order[starts]
    row, at = np.full(len(starts), -1), np.full(len(starts), -1)
    np.maximum.at(row, event, told.row[order])
    np.maximum.at(at, event, told.held[order])
    known = np.zeros(len(starts), np.bool_)
    known[event[told.row[order] < 0]] = True
    place, opens = np.arange(len(starts)), new_key[starts]
    return VersionTimeline(
        words=words[starts],
        upsert=told.upsert[first],
        row=row,
        held=at,
        known=known,
        keys=told.keys[first],
        time=told.time[first],
        next=np.where(np.r_[opens[1:], True], -1, place + 1),
        before=np.where(opens, -1, place - 1),
    )


def _told(table: Table, rows: pa.RecordBatch, held: pa.Table) -> _Told:
    count, versions = rows.num_rows, len(held)
    codes, _ = number_keys([_joined(rows, held, name) for name in stream_key(table)])
    ends = unpack(held.column(POSITION).combine_chunks())
    deleted = np.asarray(held.column(DELETED).combine_chunks().fill_null(False))
    ended = np.flatnonzero(~deleted & (ends != 0).any(axis=1))
    none = np.full(len(ended), -1)
    at = count + np.arange(versions)
    return _Told(
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


def _joined(rows: pa.RecordBatch, held: pa.Table, name: str) -> pa.Array:
    kind = rows.schema.field(name).type
    return pa.concat_arrays([rows.column(name), held.column(name).combine_chunks().cast(kind)])


def _times(moments: pa.Array | pa.ChunkedArray) -> Index:
    whole = moments.combine_chunks() if isinstance(moments, pa.ChunkedArray) else moments
    return np.asarray(whole.cast(MOMENT).cast(pa.int64()).fill_null(NEVER))


def leans_on(line: VersionTimeline, events: Index) -> Index:
    """The target's version, by number, whose values the row had before each of these events; -1 where it had none."""
    place = np.arange(len(line.upsert))
    base = np.maximum.accumulate(np.where(line.upsert & (line.held >= 0), place, -1))
    life = np.maximum.accumulate(np.where((line.before < 0) | ~line.upsert, place, 0))
    found = base[events]
    return np.where(found >= life[events], line.held[np.maximum(found, 0)], -1)


@dataclass(frozen=True, slots=True)
class Written:
    """The rows to stage, and the changes that have none, by source number.

    `replayed` changes are what the target has, `ended` are deletes that the end of a version tells.
    """

    rows: pa.RecordBatch
    replayed: Counter[int]
    ended: Counter[int]


def written(table: Table, rows: pa.RecordBatch, held: pa.Table, line: VersionTimeline) -> Written:
    """Bring the target's versions in line: a row for each new version, and for each neighbour that it corrects.

    Neighbours have source -1 (their change is counted already) and leave the stream's columns as they are.
    """
    mine, stored = line.row >= 0, line.held >= 0
    after_version = (line.before >= 0) & line.upsert[np.maximum(line.before, 0)]
    guards = _guards(line)
    corrected = stored & line.upsert
    at, before = np.flatnonzero(corrected), unpack(held.column(POSITION).combine_chunks())
    corrected[at] = (guards[at] != before[line.held[at]]).any(axis=1)
    moved = ~line.upsert & (stored == after_version)
    chosen = np.flatnonzero(line.upsert & ~stored | corrected | moved)
    sources = np.asarray(rows.column(SOURCE))
    ended = mine & ~line.known & ~line.upsert & after_version
    return Written(
        _batch(table, (rows, held), line, (chosen, guards[chosen])),
        _counted(sources[line.row[mine & line.known]]),
        _counted(sources[line.row[ended]]),
    )


def _counted(sources: NDArray[np.int32]) -> Counter[int]:
    """Changes by source number, those that do not count left out."""
    return Counter(sources[sources >= 0].tolist())


def _guards(line: VersionTimeline) -> NDArray[np.uint64]:
    ended = line.upsert & (line.next >= 0)
    behind = ~line.upsert & (line.before >= 0)
    guards = np.zeros_like(line.words)
    guards[ended] = ~line.words[line.next[ended]]
    guards[behind] = line.words[line.before[behind]]
    return guards


def _batch(
    table: Table,
    sides: tuple[pa.RecordBatch, pa.Table],
    line: VersionTimeline,
    picked: tuple[Index, NDArray[np.uint64]],
) -> pa.RecordBatch:
    rows, held = sides
    chosen, guards = picked
    row, upsert, following = line.row[chosen], line.upsert[chosen], line.next[chosen]
    told = upsert & (line.held[chosen] < 0)
    ends = np.where(following >= 0, line.time[np.maximum(following, 0)], NEVER)
    values = [name for name in table.columns.names if name not in table.key and name not in MODE_COLUMNS]
    taken = pa.array(row, mask=~told)
    columns = {name: rows.column(name).take(taken) for name in values}
    for name in stream_key(table):
        columns[name] = _joined(rows, held, name).take(pa.array(line.keys[chosen]))
    gone = ~upsert & (line.held[chosen] >= 0)
    kept, counts = upsert & ~told, (row >= 0) & ~line.known[chosen]
    sources = np.asarray(rows.column(SOURCE))
    columns |= {
        VERSION: to_hexadecimal(line.words[chosen]),
        VALID_FROM: _moments(line.time[chosen]),
        VALID_TO: _moments(np.where(upsert, ends, line.time[chosen])),
        IS_CURRENT: pa.array(upsert & (following < 0)),
        DELETED: pa.array(~upsert),
        OP: pa.array(np.where(gone, DELETE, UPSERT).astype(np.int8)),
        POSITION: pack_words(guards),
        SOURCE: pa.array(np.where(counts, sources[np.maximum(row, 0)], -1).astype(np.int32)),
        UNAVAILABLE: names_by_row(dict.fromkeys(values, kept) if kept.any() else {}, len(chosen)),
    }
    schema = pa.schema([*table.columns, *CHANGE_FIELDS, pa.field(UNAVAILABLE, UNAVAILABLE_TYPE)])
    return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)


def _moments(milliseconds: Index) -> pa.Array:
    return pa.array(milliseconds, mask=milliseconds == NEVER).cast(MOMENT)
