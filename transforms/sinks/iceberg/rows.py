"""Rows of a delta: from the stream's types to the stored ones and back, filled, sorted, written."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ....schemas.model.change import POSITION, masks_by_name
from ....schemas.model.table import Table, conform
from ..shared.guard import Mask, at_most
from ..shared.partial_rows import filled_from
from ..shared.types import stored
from .keys.keyed_table import Found, KeyedTable
from .table_format.columns import Shape
from .table_format.data_files import Files, Numbers
from .table_format.manifests import Live
from .table_format.partitions import split
from .table_format.types import in_iceberg

FILE_BYTES: Final = 512 << 20
BATCH_ROWS: Final = 1 << 18


def to_stored(columns: pa.Schema, rows: pa.Table, shape: Shape) -> pa.Table:
    """The user's columns in the types that the table has, under their names; Millrace's, which follow, as they are."""
    first = pa.schema([pa.field(field.name, stored(field.type, in_iceberg)) for field in columns])
    rest = [pa.field(POSITION, pa.binary()) if f.name == POSITION else f for f in list(rows.schema)[len(columns) :]]
    kinds = pa.schema([shape.stored.field(name) for name in columns.names])
    batches = [conform(conform(b, pa.schema([*first, *rest])), pa.schema([*kinds, *rest])) for b in rows.to_batches()]
    return pa.Table.from_batches(batches, schema=pa.schema([*kinds, *rest]))


def from_stored(columns: pa.Schema, rows: pa.Table) -> Iterator[pa.RecordBatch]:
    """Batches of exactly these columns, in the stream's names and types; none where there is no row."""
    for batch in rows.to_batches(max_chunksize=BATCH_ROWS):
        yield conform(batch.rename_columns(columns.names), columns)


def key_arrays(rows: pa.Table, table: Table) -> list[pa.Array]:
    """The key columns, each in one piece."""
    found = [rows.column(name).combine_chunks() for name in table.key]
    return [one.chunk(0) if isinstance(one, pa.ChunkedArray) else one for one in found]


def fill(table: KeyedTable, delta: pa.Table, found: Found, partial: Mask, floor: bytes | None) -> pa.Table:
    """The delta with unavailable values of the `partial` rows taken from the rows found; NULL at or below `floor`."""
    assert table.shape is not None
    kept = table.shape.table
    names = [name for name in kept.columns.names if name not in kept.key]
    masks = {name: mask & partial for name, mask in masks_by_name(delta).items() if name in names}
    if not masks or not partial.any():
        return delta
    wanted = np.zeros(len(delta), np.bool_)
    for mask in masks.values():
        wanted |= mask
    held = found.where(wanted[found.row])
    ids = [table.shape.ids[kept.columns.names.index(name)] for name in masks]
    values = table.values(held, [*ids, table.shape.position_id])
    place = np.full(len(delta), -1)
    place[held.row] = np.arange(len(held.row))
    if floor is not None and len(held.row):
        place[held.row[at_most(values.column(len(ids)), floor)]] = -1
    return filled_from(values.select(range(len(ids))).rename_columns(list(masks)), place, masks, delta)


def write(files: Files, shape: Shape, spec: Any, rows: pa.Table) -> list[tuple[Any, list[pa.Array]]]:
    """Data files of these rows (stored types, the stream's names), sorted by key, with the key columns of each.

    Files that were made stay where they are when one fails; they are in no snapshot.
    """
    key = shape.table.key
    if key and len(rows) > 1:
        order = pc.sort_indices(rows, [(name, "ascending") for name in key])
        rows = rows.take(order)
    made = []
    for partition, mine in split(rows, shape, spec):
        part = rows if mine is None else rows.take(pa.array(mine))
        step = max(1, int(FILE_BYTES / max(1, part.nbytes / len(part))))
        for start in range(0, len(part), step):
            piece = part.slice(start, step)
            made.append((files.write(_file(shape, piece), spec.spec_id, partition), key_arrays(piece, shape.table)))
    return made


def _file(shape: Shape, rows: pa.Table) -> pa.Table:
    """The rows under the names and in the order of the table's schema."""
    names = dict(zip(shape.ids, shape.table.columns.names, strict=True))
    columns = [rows.column(names.get(field.field_id, field.name)) for field in shape.schema.fields]
    target = shape.file
    kinds = zip(columns, target, strict=True)
    cast = [column if column.type.equals(field.type) else column.cast(field.type) for column, field in kinds]
    return pa.Table.from_arrays(cast, schema=target)


def read_all(
    table: KeyedTable, shape: Shape, names: Sequence[str], group: Sequence[Live] | None = None
) -> Iterator[pa.Table]:
    """The live rows of each data file, of these or all, with these columns: stored types, the stream's names.

    Millrace's own columns go by their names in the table.
    """
    known = shape.table.columns.names
    own = {field.name: field.field_id for field in shape.schema.fields if field.field_id not in shape.ids}
    ids = [own[name] if name in own else shape.ids[known.index(name)] for name in names]
    fields, files = table.fields(ids), table.files
    for file in table.layout.files.values() if group is None else group:
        yield without(files.read(file.path, fields), file.dead_rows(files)).rename_columns(list(names))


def without(rows: pa.Table, dead: Numbers) -> pa.Table:
    """The rows but these."""
    if not len(dead):
        return rows
    alive = np.ones(len(rows), np.bool_)
    alive[dead] = False
    return rows.filter(pa.array(alive))
