"""Newest change of each key: one row a key, whatever the order and number of the changes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..loops import array, compile_ahead, read_only
from ..model.change import (
    AFTER,
    AFTER_TYPE,
    CHANGE_FIELDS,
    DELETE,
    MOVED,
    MOVED_TYPE,
    OP,
    POSITION,
    SOURCE,
    UNAVAILABLE,
    UNAVAILABLE_TYPE,
    row_schema,
)
from ..model.key import number_keys
from ..model.modes import VERSION, Mode, mode_of
from ..model.position import pack_words, to_hexadecimal, unpack
from ..model.spelling import respelled_rows
from ..model.table import Table, conform, grow
from .log_order import Committed, in_epochs, in_log_order, repeated
from .unavailable_values import fill_partial


@dataclass(frozen=True, slots=True)
class NewestChanges:
    """One row a key in `delta`, and what only the commit can complete.

    Where keys of rows changed, `new_key_rows` lack values that stand in the last row of the old key, and `old_key_rows`
    are the last rows of old keys (see `key_changes`). `superseded` counts the changes left out, by source number.
    """

    table: Table
    delta: pa.RecordBatch
    superseded: dict[int, int]
    new_key_rows: pa.RecordBatch | None = None
    old_key_rows: pa.RecordBatch | None = None


def newest_changes(
    name: str, key: tuple[str, ...], batches: Sequence[pa.RecordBatch], committed: Committed | None = None
) -> NewestChanges:
    """Keep the change with the largest position of each key (of equal positions the one met last).

    The batches may come in any order and have different schemas of one table; the delta has their union.
    Snapshot rows get the position that their place in the log gives them, and all the epoch of their offset
    (`log_order`).
    Partial rows and soft deletes are filled from older rows of their key. Where every change is kept, the key has what
    tells them apart. Raises IncompatibleSchemaError.
    """
    columns = row_schema(batches[0].schema)
    for batch in batches[1:]:
        if not batch.schema.equals(batches[0].schema):
            columns = grow(name, columns, row_schema(batch.schema))
    batches = [respelled_rows(batch, columns.names) for batch in batches]
    table = Table(name, key, columns)
    keys = [_joined([batch.column(field) for batch in batches], columns.field(field).type) for field in key]
    positions = unpack(_joined([batch.column(POSITION) for batch in batches], None))
    sources = np.concatenate([np.asarray(batch.column(SOURCE)) for batch in batches])
    codes, count = number_keys(keys)
    unplaced, new_epochs = any(AFTER in batch.schema.names for batch in batches), committed and committed.epochs
    if unplaced or new_epochs:
        of_row = _of_rows(key, keys) if VERSION in key else codes
        if committed is not None:
            positions = in_epochs(positions, sources, committed)
        if unplaced:
            positions = in_log_order(positions, _afters(batches), of_row, sources, committed or Committed())
        batches = with_positions(batches, positions)
        if VERSION in key:
            keys[key.index(VERSION)] = to_hexadecimal(positions)
            codes, count = number_keys(keys)
    newest = newest_rows(codes, count, positions)
    superseded = _left_out(sources, newest)
    if any(leans(batch) for batch in batches):
        codes = _of_rows(key, keys) if VERSION in key else codes
        rows = _whole(table, batches)
        if committed is not None and VERSION not in key:
            fresh = _not_repeated(codes, newest, repeated(positions, sources, committed))
            newest = np.searchsorted(fresh, newest)
            rows, codes, positions = rows.take(pa.array(fresh)), codes[fresh], positions[fresh]
        filled = fill_partial(table, rows, codes, positions, newest)
        return NewestChanges(table, filled.delta, superseded, filled.new_key_rows, filled.old_key_rows)
    return NewestChanges(table, _taken(table, batches, newest), superseded)


def _left_out(sources: NDArray[np.int32], newest: NDArray[np.int64]) -> dict[int, int]:
    """How many changes are not the newest of their key, by source number."""
    superseded = _counts(sources, 1)
    for source, rows in _counts(sources[newest], 1).items():
        superseded[source] -= rows
    return {source: rows for source, rows in superseded.items() if rows}


def _of_rows(key: tuple[str, ...], keys: list[pa.Array]) -> NDArray[np.int32]:
    """Numbers of the rows that versions are of."""
    return number_keys([column for name, column in zip(key, keys, strict=True) if name != VERSION])[0]


def _not_repeated(codes: NDArray[np.int32], newest: NDArray[np.int64], old: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The rows that may lend a value: a repeated change does not, where its key has a newer one than the target's."""
    news = np.zeros(len(newest), np.bool_)
    news[codes[newest]] = ~old[newest]
    return np.flatnonzero(~(old & news[codes]))


def _afters(batches: Sequence[pa.RecordBatch]) -> pa.Array:
    return pa.concat_arrays(
        [
            batch.column(AFTER) if AFTER in batch.schema.names else pa.nulls(batch.num_rows, AFTER_TYPE)
            for batch in batches
        ]
    )


def with_positions(batches: Sequence[pa.RecordBatch], positions: NDArray[np.uint64]) -> list[pa.RecordBatch]:
    """The batches with these positions, all rows in order; their place in the log is told."""
    found, at = [], 0
    for batch in batches:
        packed = pack_words(positions[at : at + batch.num_rows])
        batch = batch.set_column(batch.schema.get_field_index(POSITION), CHANGE_FIELDS[1], packed)
        if VERSION in batch.schema.names:
            field = batch.schema.get_field_index(VERSION)
            version = to_hexadecimal(positions[at : at + batch.num_rows])
            batch = batch.set_column(field, batch.schema.field(field), version)
        found.append(batch.drop_columns([AFTER]) if AFTER in batch.schema.names else batch)
        at += batch.num_rows
    return found


def leans(changes: pa.RecordBatch) -> bool:
    """Whether a row may need the values of an older one."""
    names = changes.schema.names
    if UNAVAILABLE in names or MOVED in names:
        return True
    return mode_of(names) is Mode.SOFT_DELETE and bool((np.asarray(changes.column(OP)) == DELETE).any())


def _joined(arrays: list[pa.Array], kind: pa.DataType | None) -> pa.Array:
    if kind is not None:
        arrays = [array if array.type == kind else array.cast(kind) for array in arrays]
    return arrays[0] if len(arrays) == 1 else pa.concat_arrays(arrays)


def _counts(sources: NDArray[np.int32], shift: int) -> dict[int, int]:
    """Rows by source number; the unaccounted (-1) left out."""
    counts = np.bincount(sources + shift)
    return {number - shift: int(rows) for number, rows in enumerate(counts) if rows and number >= shift}


def _taken(table: Table, batches: Sequence[pa.RecordBatch], rows: NDArray[np.int64]) -> pa.RecordBatch:
    """The rows, numbered through all batches in ascending order, of one schema."""
    borders = np.cumsum([0, *(batch.num_rows for batch in batches)])
    cuts = np.searchsorted(rows, borders)
    schema = pa.schema([*table.columns, *CHANGE_FIELDS])
    parts = []
    for number, batch in enumerate(batches):
        local = rows[cuts[number] : cuts[number + 1]] - borders[number]
        if len(local):
            kept = batch if len(local) == batch.num_rows else batch.take(pa.array(local))
            parts.append(conform(kept, schema))
    return parts[0] if len(parts) == 1 else pa.concat_batches(parts)


def _whole(table: Table, batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """All rows of all batches, with all of Millrace's columns."""
    extra = [pa.field(UNAVAILABLE, UNAVAILABLE_TYPE), pa.field(MOVED, MOVED_TYPE)]
    schema = pa.schema([*table.columns, *CHANGE_FIELDS, *extra])
    return pa.concat_batches([conform(batch, schema) for batch in batches])


def newest_rows(codes: NDArray[np.int32], count: int, positions: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The row with the largest position of each key number, ascending."""
    best = _newest(codes, count, positions)
    best.sort()
    return best


@compile_ahead((array(np.int32), 1, array(np.uint64, 2)), (read_only(np.int32), 1, array(np.uint64, 2)))
@numba.njit(cache=True, nogil=True)
def _newest(codes, count, positions):  # type: ignore[no-untyped-def]
    best = np.full(count, -1, np.int64)
    for row in range(len(codes)):
        held = best[codes[row]]
        newer = held < 0
        if not newer:
            for part in range(4):
                if positions[row, part] != positions[held, part]:
                    newer = positions[row, part] > positions[held, part]
                    break
                newer = part == 3
        if newer:
            best[codes[row]] = row
    return best
