"""Rows of a target by key, for the modes that lean on what is there: by the sink's own way, else by a scan."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ....schemas.errors import TableError
from ....schemas.model.change import POSITION, POSITION_TYPE
from ....schemas.model.modes import FIELDS
from ....schemas.model.table import cast, widened
from .. import Sink
from .key_index import KeyIndex


@runtime_checkable
class Lookup(Protocol):
    """A sink that finds rows faster than by a whole scan; optional."""

    def columns(self, table: str) -> pa.Schema | None:
        """The table's columns as `Sink.scan` gives them; None where there is no table."""

    def lookup(self, table: str, keys: pa.Table, columns: Sequence[str], upto: bytes | None) -> pa.Table:
        """`find_rows`, for a table that is there and keys of exactly its types."""


def columns_of(sink: Sink, table: str) -> pa.Schema | None:
    """The table's columns; None where there is no table, or no row in it."""
    if isinstance(sink, Lookup):
        return sink.columns(table)
    try:
        first = next(sink.scan(table), None)
    except TableError:
        return None
    return None if first is None else first.schema


def find_rows(sink: Sink, table: str, keys: pa.Table, columns: Sequence[str], upto: bytes | None = None) -> pa.Table:
    """The table's rows whose values in the columns of `keys` are those of a row of it; NULL equals NULL.

    The rows of `keys` differ from one another. `columns` may name `_millrace_position`; with `upto`, rows of a larger
    one are left out. Empty where there is no table.
    """
    held = columns_of(sink, table)
    if held is None:
        return _typed(keys.schema, columns).empty_table()
    kinds = {field.name: widened(held.field(field.name).type, field.type) or field.type for field in keys.schema}
    wide = pa.table({name: _cast(keys.column(name), kind) for name, kind in kinds.items()})
    if isinstance(sink, Lookup) and all(kind.equals(held.field(name).type) for name, kind in kinds.items()):
        return sink.lookup(table, wide, columns, upto)
    wanted = list(dict.fromkeys([*columns, *keys.column_names, POSITION]))
    index = KeyIndex(wide.columns)
    found = [matching(batch, index, wide.schema, upto) for batch in sink.scan(table, wanted)]
    return pa.Table.from_batches([part.select(list(columns)) for part in found], schema=_typed(held, columns))


def matching(batch: pa.RecordBatch, index: KeyIndex, keys: pa.Schema, upto: bytes | None) -> pa.RecordBatch:
    """The rows of the batch whose key is in the index, and whose position is at most `upto`."""
    if upto is not None:
        below = pc.less_equal(batch.column(POSITION).cast(pa.binary()), pa.scalar(upto, pa.binary()))
        batch = batch.filter(below)
    _, there = index.find([cast(batch.column(field.name), field.type) for field in keys])
    return batch.take(pa.array(np.sort(there)))


def _typed(known: pa.Schema, columns: Sequence[str]) -> pa.Schema:
    """The columns with their types, those of modes and the position too; others, of which there is no row, of none."""
    types = {POSITION: POSITION_TYPE, **{field.name: field.type for mode in FIELDS.values() for field in mode}}
    types |= {field.name: field.type for field in known}
    return pa.schema([(name, types.get(name, pa.null())) for name in columns])


def _cast(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    return pa.chunked_array([cast(chunk, kind) for chunk in column.chunks], kind)
