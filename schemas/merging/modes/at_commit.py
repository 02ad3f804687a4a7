"""Rows that only the commit can complete, since they need what the target holds of their keys, or of an old key."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import pyarrow as pa

from ...model.change import (
    CHANGE_FIELDS,
    DELETE,
    OP,
    UNAVAILABLE,
    UNAVAILABLE_TYPE,
    UPSERT,
    masks_by_name,
    names_by_row,
)
from ...model.modes import Mode, mode_of
from ...model.spelling import respelled, respelled_names, respelled_rows
from ...model.table import Table, conform, grow
from ..key_changes import filled_new_keys
from .current_rows import CurrentRows
from .version_timeline import stream_key
from .versions import versions


def split(table: Table, delta: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch | None]:
    """The rows that can be staged at once, and those that `complete` must see first, if there are any."""
    mode = mode_of(table.columns.names)
    if mode is Mode.SCD2:
        return delta.slice(0, 0), delta if delta.num_rows else None
    deletes = np.asarray(delta.column(OP)) == DELETE
    if mode is not Mode.SOFT_DELETE or not deletes.any():
        return delta, None
    return delta.filter(pa.array(~deletes)), delta.filter(pa.array(deletes))


@dataclass(frozen=True, slots=True)
class TableRows:
    """Rows of a table, with Millrace's columns."""

    table: Table
    rows: pa.RecordBatch


@dataclass(frozen=True, slots=True)
class IncompleteRows:
    """Rows of a window that need what the target holds; of each kind, the parts hold different keys.

    `new_key_rows` and `old_key_rows`: where keys of rows changed (see `key_changes`). `need_target`: soft deletes and
    versions.
    """

    new_key_rows: Sequence[TableRows] = ()
    old_key_rows: Sequence[pa.RecordBatch] = ()
    need_target: Sequence[TableRows] = ()


@dataclass(frozen=True, slots=True)
class CompleteRows:
    """Rows that can be staged, and the changes that have none, by source number.

    `superseded` are replays, `applied` are deletes that the end of a version tells. `unfilled` counts the values that
    no row holds: they are NULL.
    """

    parts: Sequence[TableRows] = ()
    superseded: Mapping[int, int] = field(default_factory=dict)
    applied: Mapping[int, int] = field(default_factory=dict)
    unfilled: int = 0


def complete(current: CurrentRows, rows: IncompleteRows) -> CompleteRows:
    """Complete the rows of a window by what the target holds. Raises IncompatibleSchemaError.

    A soft delete keeps the row's values, those of columns that the stream has dropped too. Versions find their
    neighbours.
    """
    filled, unfilled = [], 0
    if rows.new_key_rows:
        rows = _as_held(rows, (current.columns() or pa.schema([])).names)
    for part in rows.new_key_rows:
        row = Table(part.table.name, stream_key(part.table), part.table.columns)
        whole, missed = filled_new_keys(row, part.rows, rows.old_key_rows, partial(current.find_named, row.key))
        filled.append(TableRows(part.table, whole))
        unfilled += missed
    return replace(_in_mode(current, [*filled, *rows.need_target]), unfilled=unfilled)


def _as_held(rows: IncompleteRows, names: Sequence[str]) -> IncompleteRows:
    """The rows of changed keys with the target's spelling of their columns."""
    new = []
    for part in rows.new_key_rows:
        key, columns = respelled_names(part.table.key, names), respelled(part.table.columns, names)
        new.append(TableRows(Table(part.table.name, key, columns), respelled_rows(part.rows, names)))
    return replace(rows, new_key_rows=new, old_key_rows=[respelled_rows(one, names) for one in rows.old_key_rows])


def _in_mode(current: CurrentRows, parts: Sequence[TableRows]) -> CompleteRows:
    """Rows as the mode of their table has them."""
    if not parts:
        return CompleteRows()
    name, key = parts[0].table.name, parts[0].table.key
    mode = mode_of(parts[0].table.columns.names)
    if mode not in (Mode.SOFT_DELETE, Mode.SCD2):
        return CompleteRows(parts)
    columns = current.columns() or pa.schema([])
    for part in parts:
        columns = grow(name, columns, part.table.columns) if len(columns) else part.table.columns
    table = Table(name, respelled_names(key, columns.names), columns)
    schema = pa.schema([*columns, *CHANGE_FIELDS, pa.field(UNAVAILABLE, UNAVAILABLE_TYPE)])
    found = [respelled_rows(part.rows, columns.names) for part in parts]
    rows = pa.concat_batches([conform(_without_dropped(columns, one, mode), schema) for one in found])
    if mode is Mode.SOFT_DELETE:
        return CompleteRows([TableRows(table, soft_deleted(rows))])
    done = versions(current, table, rows)
    return CompleteRows([TableRows(table, done.rows)] if done.rows.num_rows else [], done.replayed, done.ended)


def _without_dropped(columns: pa.Schema, rows: pa.RecordBatch, mode: Mode) -> pa.RecordBatch:
    """Soft deletes without the columns that the stream does not have any more: the target's values stay."""
    lacking = [name for name in columns.names if name not in rows.schema.names]
    deletes = np.asarray(rows.column(OP)) == DELETE
    if mode is not Mode.SOFT_DELETE or not lacking or not deletes.any():
        return rows
    masks = dict.fromkeys(lacking, deletes)
    names = names_by_row(masks | masks_by_name(rows), rows.num_rows)
    if UNAVAILABLE in rows.schema.names:
        return rows.set_column(rows.schema.get_field_index(UNAVAILABLE), UNAVAILABLE, names)
    return rows.append_column(UNAVAILABLE, names)


def soft_deleted(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Deletes as upserts: `_millrace_deleted` says it."""
    index = rows.schema.get_field_index(OP)
    return rows.set_column(index, rows.schema.field(index), pa.array(np.full(rows.num_rows, UPSERT, np.int8)))
