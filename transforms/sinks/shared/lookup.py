"""Rows of a target by key, for the modes that need what is there: by the sink's own way, else by a scan."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ....schemas.errors import TableError
from ....schemas.merging.modes.current_rows import KeyValues, Row
from ....schemas.model.change import POSITION, POSITION_TYPE
from ....schemas.model.key_text import comparable
from ....schemas.model.modes import FIELDS, NUMBER, VERSION
from ....schemas.model.table import cast, widened
from .. import Sink
from .key_index import KeyIndex


@runtime_checkable
class KnowsColumns(Protocol):
    """A sink that tells a table's columns, also where it has no row."""

    def columns(self, table: str) -> pa.Schema | None:
        """The table's columns as `Sink.scan` gives them; None where there is no table."""


@runtime_checkable
class Lookup(KnowsColumns, Protocol):
    """A sink that finds rows faster than by a whole scan; optional."""

    def lookup(self, table: str, keys: pa.Table, columns: Sequence[str], upto: bytes | None) -> pa.Table:
        """`find_rows`, for a table that is there and keys of exactly its types."""


@runtime_checkable
class LimitedGrowth(Protocol):
    """A sink whose columns grow less than `model.table.widened` allows."""

    def widened(self, old: pa.DataType, new: pa.DataType) -> pa.DataType | None:
        """The type that holds both, where a column of `old` can become one of it; else None."""


def widening_of(sink: Sink) -> Callable[[pa.DataType, pa.DataType], pa.DataType | None]:
    """What a column of this target can grow to."""
    return sink.widened if isinstance(sink, LimitedGrowth) else widened


def columns_of(sink: Sink, table: str) -> pa.Schema | None:
    """The table's columns; None where there is no table, or no row in it."""
    if isinstance(sink, KnowsColumns):
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
    types[NUMBER] = pa.int64()
    types |= {field.name: field.type for field in known}
    return pa.schema([(name, types.get(name, pa.null())) for name in columns])


def _cast(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    return pa.chunked_array([cast(chunk, kind) for chunk in column.chunks], kind)


@dataclass(frozen=True)
class TargetRows:
    """`merging.modes.CurrentRows` of a table in a sink, for one commit."""

    sink: Sink
    table: str

    @cached_property
    def _columns(self) -> pa.Schema | None:
        return columns_of(self.sink, self.table)

    def columns(self) -> pa.Schema | None:
        """Asked once."""
        return self._columns

    def find(self, keys: pa.Table, columns: Sequence[str], upto: bytes | None = None) -> pa.Table:
        """By the sink's own way, else by a scan."""
        return find_rows(self.sink, self.table, keys, columns, upto)

    def find_named(self, key: Sequence[str], keys: set[KeyValues]) -> dict[KeyValues, Row]:
        """By one scan."""
        held = self.columns() if self.table in self.sink.tables() else None
        if held is None:
            return {}
        rows: dict[KeyValues, Row] = {}
        for batch in self.sink.scan(self.table, [*held.names, POSITION]):
            batch = _with_first(batch, key[0], {values[0] for values in keys})
            columns = [batch.column(name) for name in key]
            kinds = [column.type for column in columns]
            for number, values in enumerate(zip(*(column.to_pylist() for column in columns), strict=True)):
                named = tuple(comparable(value, kind) for value, kind in zip(values, kinds, strict=True))
                if named in keys:
                    row = batch.slice(number, 1).to_pylist()[0]
                    if named not in rows or row.get(VERSION, "") > rows[named].get(VERSION, ""):
                        rows[named] = row
        return rows


def _with_first(batch: pa.RecordBatch, name: str, values: set[Any]) -> pa.RecordBatch:
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
