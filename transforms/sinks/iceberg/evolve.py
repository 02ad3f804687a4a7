"""An Iceberg table made, and grown so that it holds what was staged."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from ....schemas.errors import IncompatibleSchemaError, TerminalSinkError
from ....schemas.model.table import Table, conform
from .keys.keyed_table import KeyedTable
from .rows import from_stored, read_all, to_stored, write
from .table_format.columns import LastIds, Shape, empty_shape, grown, renamed
from .table_format.partitions import new_spec
from .table_format.snapshots import Change

Terms = Sequence[tuple[str, str]]
"""The option `partition_by`, parsed: (transform, column) of each partition field."""


def opened(target: KeyedTable, name: str, extra: pa.Schema | None = None) -> Shape:
    """The newest state of the table, made where there is none. Raises TerminalSinkError for another's table."""
    if not target.known():
        empty = empty_shape(name, extra)
        target.catalog.create(target.name, empty.schema, empty.properties())
        target.refresh()
    if target.shape is None:
        raise TerminalSinkError(
            f"{target.catalog.place}.{target.name} is an Iceberg table that Millrace did not make: rename it, or set "
            "another `to`"
        )
    if target.table.format_version != 2:
        raise TerminalSinkError(
            f"{target.catalog.place}.{target.name} has format version {target.table.format_version}; Millrace writes 2"
        )
    return target.shape


def fit(target: KeyedTable, table: Table, terms: Terms, change: Change) -> Shape:
    """Grow the shape to that of `table`: with the change, or by a commit of its own where files must be rewritten.

    The first columns of a table bring its partitions, `terms`. Raises Conflict, IncompatibleSchemaError.
    """
    assert target.shape is not None
    old = target.shape
    if old.ids and old.table.columns.equals(table.columns):
        return old
    metadata = target.table.metadata
    shape, rewrite = grown(old, table, LastIds.of(metadata), target.catalog.appends_columns)
    if rewrite and target.layout.files:
        _check_partitions(target, shape)
        _rewrite(target, shape)
        assert target.shape is not None
        return target.shape
    change.shape = target.shape = shape
    if not old.ids and terms:
        change.spec = new_spec(terms, shape)
    return shape


def rename(target: KeyedTable, names: Mapping[str, str]) -> None:
    """Columns that are not of the key get other names, by a commit that changes no row. Raises Conflict."""
    shape = target.shape
    due = {} if shape is None else {old: new for old, new in names.items() if old in shape.table.columns.names}
    if shape is not None and due:
        target.commit(Change(shape=renamed(shape, due, LastIds.of(target.table.metadata)), rewrite=True), "")


def _check_partitions(target: KeyedTable, shape: Shape) -> None:
    fields = target.table.spec().fields
    lost = next((field for field in fields if field.source_id not in shape.ids), None)
    if lost is not None and target.shape is not None:
        name = target.shape.table.columns.names[target.shape.ids.index(lost.source_id)]
        raise IncompatibleSchemaError(
            f"table {shape.table.name}: the column {name!r} has another type now and the table is partitioned by it, "
            "which Iceberg cannot change; write to a new table"
        )


def _rewrite(target: KeyedTable, shape: Shape) -> None:
    """All live rows in files of the new shape, in one commit that changes no row."""
    assert target.shape is not None
    old, change = target.shape, Change(shape=shape, rewrite=True)
    own = [field.name for field in old.schema.fields if field.field_id not in old.ids]
    extra = pa.schema([old.file.field(name).remove_metadata() for name in own])
    before, after = pa.schema([*old.table.columns, *extra]), pa.schema([*shape.table.columns, *extra])
    for rows in read_all(target, old, [*old.table.columns.names, *own]):
        batches = [conform(batch, after) for batch in from_stored(before, rows)]
        if batches:
            stored = to_stored(shape.table.columns, pa.Table.from_batches(batches), shape)
            change.files += [data for data, _ in write(target.files, shape, target.table.spec(), stored)]
    for file in target.layout.files.values():
        target.drop(file, change)
    target.commit(change, "")
    target.forget_index()


def spec_of(target: KeyedTable, change: Change) -> Any:
    """The partition spec of new files."""
    return change.spec if change.spec is not None else target.table.spec()
