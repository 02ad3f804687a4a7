"""The rows that bring the versions of a target in line (`mode: scd2`).

A version's row is guarded by its end: `_millrace_position` is zero while the version is current, else the complement of
the position that ended it. An end that is earlier in the source gets a larger guard, so a late correction wins and a
replay is refused. A delete that ends a version leaves no row: the version's end is its position. A delete that ends
none, because no version stands before it, is a row with `_millrace_deleted`, so that a late upsert finds its end. Its
guard is the position before it (zero where there is none), which late changes can only bring nearer. Once a version
stands there, the row goes.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...model.change import (
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
from ...model.modes import DELETED, IS_CURRENT, MODE_COLUMNS, MOMENT, VALID_FROM, VALID_TO, VERSION
from ...model.position import pack_words, to_hexadecimal, unpack
from ...model.table import Table
from .version_timeline import NEVER, Index, VersionTimeline, joined, stream_key


@dataclass(frozen=True, slots=True)
class VersionChange:
    """The changes of a commit among what the target holds of their keys (stream's key and `HELD_COLUMNS`)."""

    table: Table
    held: pa.Table
    line: VersionTimeline


@dataclass(frozen=True, slots=True)
class VersionRows:
    """The rows to stage, and the changes that have none, by source number.

    `replayed` changes are what the target has, `ended` are deletes that the end of a version tells.
    """

    rows: pa.RecordBatch
    replayed: Counter[int]
    ended: Counter[int]


def version_rows(change: VersionChange, rows: pa.RecordBatch) -> VersionRows:
    """Bring the target's versions in line: a row for each new version, and for each neighbour that it corrects.

    `rows` are the changes, their unavailable values filled. Neighbours have source -1 (their change is counted
    already) and leave the stream's columns as they are.
    """
    line, held = change.line, change.held
    mine, stored = line.row >= 0, line.held >= 0
    after_version = (line.before >= 0) & line.upsert[np.maximum(line.before, 0)]
    guards = _guards(line)
    corrected = stored & line.upsert
    at, before = np.flatnonzero(corrected), unpack(held.column(POSITION).combine_chunks())
    corrected[at] = (guards[at] != before[line.held[at]]).any(axis=1)
    # A delete has a row where no version stands before it, and loses it once one does.
    changed_deletes = ~line.upsert & (stored == after_version)
    chosen = np.flatnonzero(line.upsert & ~stored | corrected | changed_deletes)
    sources = np.asarray(rows.column(SOURCE))
    ended = mine & ~line.known & ~line.upsert & after_version
    return VersionRows(
        _batch(change, rows, chosen, guards[chosen]),
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


def _batch(change: VersionChange, rows: pa.RecordBatch, chosen: Index, guards: NDArray[np.uint64]) -> pa.RecordBatch:
    """The rows of the events `chosen`, numbers in the timeline, each with its guard as position."""
    table, held, line = change.table, change.held, change.line
    row, upsert, following = line.row[chosen], line.upsert[chosen], line.next[chosen]
    fresh = upsert & (line.held[chosen] < 0)
    ends = np.where(following >= 0, line.time[np.maximum(following, 0)], NEVER)
    values = [name for name in table.columns.names if name not in table.key and name not in MODE_COLUMNS]
    taken = pa.array(row, mask=~fresh)
    columns = {name: rows.column(name).take(taken) for name in values}
    for name in stream_key(table):
        columns[name] = joined(rows, held, name).take(pa.array(line.keys[chosen]))
    gone = ~upsert & (line.held[chosen] >= 0)
    kept, counts = upsert & ~fresh, (row >= 0) & ~line.known[chosen]
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
