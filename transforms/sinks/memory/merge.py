"""A delta into rows in memory, by key. Every function gives a new Arrow table and leaves the given ones as they are."""

from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ....schemas.model.change import CHANGE_FIELDS, POSITION
from ....schemas.model.table import Table, conform
from ..shared.guard import Mask, Match, Numbers
from ..shared.key_index import KeyIndex
from ..shared.partial_rows import HeldRows, filled_from_target
from ..shared.types import stored_schema

DELETED_AT: Final = pa.field("_millrace_deleted_at", pa.timestamp("us", "UTC"))
POSITION_FIELD: Final = CHANGE_FIELDS[1]


def held_columns(columns: pa.Schema) -> pa.Schema:
    """The stream's columns as they are held: nullable, dictionaries and extension types as the values below them."""
    return stored_schema(columns, lambda kind: kind)


def row_columns(table: Table) -> pa.Schema:
    """The columns of the rows."""
    return held_columns(table.columns).append(POSITION_FIELD)


def tombstone_columns(table: Table) -> pa.Schema:
    """The columns of the tombstones."""
    columns = held_columns(table.columns)
    return pa.schema([*(columns.field(name) for name in table.key), POSITION_FIELD, DELETED_AT])


def conformed(held: pa.Table, schema: pa.Schema) -> pa.Table:
    """The rows with exactly these columns. Raises IncompatibleSchemaError where a value does not fit."""
    return pa.Table.from_batches([conform(batch, schema) for batch in held.to_batches()], schema=schema)


def match(held: pa.Table, key: tuple[str, ...], delta: pa.Table) -> Match:
    """Compare the delta's positions with those of its keys in `held`."""
    index, positions = KeyIndex([delta.column(name) for name in key]), _positions(delta)
    # By batch of `held`: numbers of the delta's rows, and whether their positions are above the held ones.
    rows: list[Numbers] = [np.empty(0, np.int64)]
    newer: list[Mask] = [np.empty(0, np.bool_)]
    for batch in held.to_batches():
        row, there = index.find([batch.column(name) for name in key])
        theirs = batch.column(POSITION).cast(pa.binary()).take(pa.array(there))
        rows.append(row)
        newer.append(np.asarray(pc.greater(positions.take(pa.array(row)), theirs)))
    return Match(np.concatenate(rows), np.concatenate(newer))


def without(held: pa.Table, key: tuple[str, ...], rows: pa.Table) -> pa.Table:
    """What is held of other keys than those of `rows`."""
    if not len(rows):
        return held
    index, stays, first = KeyIndex([rows.column(name) for name in key]), np.ones(len(held), np.bool_), 0
    for batch in held.to_batches():
        stays[first + index.find([batch.column(name) for name in key])[1]] = False
        first += batch.num_rows
    return held.filter(pa.array(stays))


def above(held: pa.Table, position: bytes) -> pa.Table:
    """What has a larger position."""
    return held.filter(pc.greater(_positions(held), pa.scalar(position, pa.binary())))


def filled(held: pa.Table, key: tuple[str, ...], delta: pa.Table) -> pa.Table:
    """The delta with unavailable values as the held rows have them; NULL where there is none."""
    return filled_from_target(delta, HeldRows(key, lambda _, names: iter(held.select([*key, *names]).to_batches())))


def as_tombstones(table: Table, deleted: pa.Table) -> pa.Table:
    """Tombstones of these deletes, applied now."""
    now = pa.scalar(datetime.now(UTC), DELETED_AT.type)
    return deleted.select([*table.key, POSITION]).append_column(DELETED_AT, pa.repeat(now, len(deleted)))


def kept(tombstones: pa.Table, retention: timedelta) -> pa.Table:
    """The tombstones of deletes that were applied within the retention, by the wall clock."""
    limit = pa.scalar(datetime.now(UTC) - retention, DELETED_AT.type)
    return tombstones.filter(pc.greater_equal(tombstones.column(DELETED_AT.name), limit))


def _positions(rows: pa.Table) -> pa.ChunkedArray:
    """Arrow compares `binary`, but not every kernel takes binary of a fixed size."""
    return rows.column(POSITION).cast(pa.binary())
