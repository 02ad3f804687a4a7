"""What only the commit can finish: rows that lean on what the target holds of their keys just before it.

A soft delete keeps the row's values, those of columns that the stream has dropped too. Versions find their neighbours.
One commit of a table after the other: nothing else may write the table in between.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ...schemas.merging.key_changes import KeyValues, Row, comparable, settle_requests
from ...schemas.merging.scd2 import HELD_COLUMNS, VersionTimeline, Written, leans_on, line_up, stream_key, written
from ...schemas.model.change import (
    CHANGE_FIELDS,
    DELETE,
    OP,
    POSITION,
    UNAVAILABLE,
    UNAVAILABLE_TYPE,
    UPSERT,
    masks_by_name,
    names_by_row,
)
from ...schemas.model.key import number_keys
from ...schemas.model.modes import MODE_COLUMNS, VERSION, Mode, mode_of
from ...schemas.model.position import by_position, unpack
from ...schemas.model.table import Table, cast, conform, grow
from ..sinks import Sink
from ..sinks.shared.lookup import columns_of, find_rows

Index = NDArray[np.int64]
Rows = tuple[Table, pa.RecordBatch]


def settled(sink: Sink, waiting: Sequence[Rows], departures: Sequence[pa.RecordBatch]) -> tuple[list[Rows], int]:
    """Rows that wait for another key's last row, filled, and how many of their values no row holds."""
    rows, unfilled = [], 0
    for table, requests in waiting:
        row = Table(table.name, stream_key(table), table.columns)
        whole, missed = settle_requests(row, requests, departures, partial(rows_of, sink, row))
        unfilled += missed
        rows.append((table, whole))
    return rows, unfilled


def rows_of(sink: Sink, table: Table, keys: set[KeyValues]) -> dict[KeyValues, Row]:
    """The target's rows of these keys, by one scan: only for the rare key change that needs an old value.

    Of several versions the last one.
    """
    if table.name not in sink.tables():
        return {}
    found: dict[KeyValues, Row] = {}
    held = columns_of(sink, table.name)
    for batch in sink.scan(table.name, [*([] if held is None else held.names), POSITION]):
        batch = _maybe(batch, table.key[0], {key[0] for key in keys})
        columns = [batch.column(name) for name in table.key]
        kinds = [column.type for column in columns]
        for number, values in enumerate(zip(*(column.to_pylist() for column in columns), strict=True)):
            key = tuple(comparable(value, kind) for value, kind in zip(values, kinds, strict=True))
            if key in keys:
                row = batch.slice(number, 1).to_pylist()[0]
                if key not in found or row.get(VERSION, "") > found[key].get(VERSION, ""):
                    found[key] = row
    return found


def _maybe(batch: pa.RecordBatch, name: str, values: set[Any]) -> pa.RecordBatch:
    """The rows whose key column `name` may have one of the values: Python then looks at those alone.

    The values come from headers: those that the column cannot hold (too large, no Unicode) match no row.
    """
    kind = batch.schema.field(name).type
    if pa.types.is_signed_integer(kind):
        numbers = [value for value in values if type(value) is int and -(1 << 63) <= value < 1 << 63]
        return batch.filter(pc.is_in(batch.column(name).cast(pa.int64()), pa.array(numbers, pa.int64())))
    if pa.types.is_string(kind):
        texts = [v for v in values if isinstance(v, str) and v.encode("utf-8", "ignore").decode() == v]
        return batch.filter(pc.is_in(batch.column(name), pa.array(texts, pa.string())))
    return batch


def split(table: Table, delta: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch | None]:
    """The rows that can be staged at once, and those that `finished` must see first, if there are any."""
    mode = mode_of(table.columns.names)
    if mode is Mode.SCD2:
        return delta.slice(0, 0), delta if delta.num_rows else None
    deletes = np.asarray(delta.column(OP)) == DELETE
    if mode is not Mode.SOFT_DELETE or not deletes.any():
        return delta, None
    return delta.filter(pa.array(~deletes)), delta.filter(pa.array(deletes))


@dataclass(frozen=True, slots=True)
class Finished:
    """Rows that can be staged, and the changes that have none, by source number: replays, and ends of versions."""

    rows: list[Rows]
    superseded: Mapping[int, int] = field(default_factory=dict)
    applied: Mapping[int, int] = field(default_factory=dict)


def finished(sink: Sink, parts: Sequence[Rows]) -> Finished:
    """Finish the rows of a window; parts hold different keys. Raises IncompatibleSchemaError."""
    if not parts:
        return Finished([])
    name, key = parts[0][0].name, parts[0][0].key
    mode = mode_of(parts[0][0].columns.names)
    if mode not in (Mode.SOFT_DELETE, Mode.SCD2):
        return Finished(list(parts))
    columns = columns_of(sink, name) or pa.schema([])
    for table, _ in parts:
        columns = grow(name, columns, table.columns) if len(columns) else table.columns
    table = Table(name, key, columns)
    schema = pa.schema([*columns, *CHANGE_FIELDS, pa.field(UNAVAILABLE, UNAVAILABLE_TYPE)])
    rows = pa.concat_batches([conform(_open(columns, part, mode), schema) for _, part in parts])
    if mode is Mode.SOFT_DELETE:
        return Finished([(table, soft_deleted(rows))])
    done = versions(sink, table, rows)
    return Finished([(table, done.rows)] if done.rows.num_rows else [], done.replayed, done.ended)


def _open(columns: pa.Schema, rows: pa.RecordBatch, mode: Mode) -> pa.RecordBatch:
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


def versions(sink: Sink, table: Table, rows: pa.RecordBatch) -> Written:
    """The changes as rows of versions, with the neighbours that they correct."""
    key = stream_key(table)
    codes, count = number_keys([rows.column(name) for name in key])
    keys = pa.table(rows.select(list(key)).take(pa.array(_firsts(codes, count))))
    held = find_rows(sink, table.name, keys, [*key, *HELD_COLUMNS], _latest_guard(rows))
    held = pa.table({name: _like(held.column(name), rows.schema, name) for name in held.column_names})
    line = line_up(table, rows, held)
    return written(table, _valued(sink, table, rows, (held, line)), held, line)


def _firsts(codes: NDArray[np.int32], count: int) -> Index:
    firsts = np.zeros(count, np.int64)
    firsts[codes[::-1]] = np.arange(len(codes))[::-1]
    return firsts


def _latest_guard(rows: pa.RecordBatch) -> bytes:
    """The guard of a version that ended with the first of these changes: one that ended before is out of reach."""
    words = unpack(rows.column(POSITION))
    first = words[by_position(words)[0]]
    return (~first).astype(">u8").tobytes()


def _like(column: pa.ChunkedArray, schema: pa.Schema, name: str) -> pa.ChunkedArray:
    kind = schema.field(name).type
    return pa.chunked_array([cast(chunk, kind) for chunk in column.chunks], kind)


def _valued(sink: Sink, table: Table, rows: pa.RecordBatch, known: tuple[pa.Table, VersionTimeline]) -> pa.RecordBatch:
    """The changes with values that were not sent taken from the target's version that each leans on."""
    held, line = known
    masks = masks_by_name(rows)
    events = np.flatnonzero((line.row >= 0) & (line.held < 0) & line.upsert)
    leaning = leans_on(line, events)
    lacking = np.asarray(rows.column(UNAVAILABLE).is_valid())[line.row[events]] & (leaning >= 0)
    if not masks or not lacking.any():
        return rows
    wanted, of = np.unique(leaning[lacking], return_inverse=True)
    key = [*stream_key(table), VERSION]
    keys = held.select(key).take(pa.array(wanted))
    found = find_rows(sink, table.name, keys, [*key, *(name for name in masks if name in _held_names(sink, table))])
    place = _places(keys, found, key)[of]
    row = line.row[events][lacking]
    for name in [name for name in masks if name in found.column_names and name not in MODE_COLUMNS]:
        column = rows.column(name)
        source = np.arange(len(column))
        source[row] = np.where(masks[name][row] & (place >= 0), len(column) + place, row)
        both = pa.concat_arrays([column, *_like(found.column(name), rows.schema, name).chunks])
        rows = rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), both.take(pa.array(source)))
    return rows


def _held_names(sink: Sink, table: Table) -> list[str]:
    held = columns_of(sink, table.name)
    return [] if held is None else list(held.names)


def _places(keys: pa.Table, found: pa.Table, names: Sequence[str]) -> Index:
    """The place among `found` of each of `keys`, -1 where it is not there."""
    joined = [
        pa.concat_arrays([*keys.column(name).chunks, *_like(found.column(name), keys.schema, name).chunks])
        for name in names
    ]
    codes, count = number_keys(joined)
    places = np.full(count, -1)
    places[codes[len(keys) :]] = np.arange(len(found))
    return places[codes[: len(keys)]]
