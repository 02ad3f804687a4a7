"""Columns that were renamed at the source (`tables.renames`): one name from there on, also for older messages."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from ..envelopes.decoded import Decoded
from ..errors import IncompatibleSchemaError
from ..model.change import UNAVAILABLE, of_row
from ..model.incompatible_columns import columns_beside
from ..model.route import Route
from ..model.table import Table
from ..model.unrepresentable import text_name
from .modes.decoded_rows import shaped


def of_table(route: Route, done: Decoded) -> Decoded:
    """What a block came to for one of its tables: in the shape of its mode, under the names of its columns.

    Raises IncompatibleSchemaError where the messages have a column under both names, or for one of the key.

    A log of changes keeps the source's word for what was not sent (`_millrace_not_sent`).
    """
    key, done = done.key, shaped(route.mode, done)
    if not route.renames:
        return done
    names = dict(route.renames)
    return replace(done, changes=[_renamed(route.table, batch, names, key) for batch in done.changes])


def _renamed(table: str, batch: pa.RecordBatch, names: Mapping[str, str], key: Sequence[str]) -> pa.RecordBatch:
    due = names_due(table, [name for name in batch.schema.names if of_row(name)], key, names)
    if not due:
        return batch
    metadata = batch.schema.metadata
    batch = batch.rename_columns([due.get(name, name) for name in batch.schema.names])
    at = batch.schema.get_field_index(UNAVAILABLE)
    if at >= 0:
        batch = batch.set_column(at, batch.schema.field(at), _renamed_texts(batch.column(at), due))
    return batch.replace_schema_metadata(metadata)


def _renamed_texts(lists: pa.Array, names: Mapping[str, str]) -> pa.Array:
    """The same lists of names, with the new ones."""
    texts = lists.flatten()
    for old, new in names.items():
        texts = pc.if_else(pc.equal(texts, old), new, texts)
    shape = lists.take(pa.array(range(len(lists)), pa.int64())) if lists.offset else lists
    return pa.ListArray.from_arrays(shape.offsets, texts.cast(pa.string()), type=lists.type, mask=lists.is_null())


def renamed_table(table: Table, renames: Mapping[str, str]) -> Table:
    """The table under the new names. Raises IncompatibleSchemaError as `names_due`."""
    due = names_due(table.name, table.columns.names, table.key, renames)
    return with_names(table, due) if due else table


def with_names(table: Table, names: Mapping[str, str]) -> Table:
    """The table with these of its columns under other names; none of them is one of the key."""
    fields = [field.with_name(names.get(field.name, field.name)) for field in table.columns]
    return Table(table.name, table.key, pa.schema(fields))


def with_old_names(columns: pa.Schema, renames: Iterable[tuple[str, str]]) -> pa.Schema:
    """The columns, those that were renamed under each of their old names too."""
    olds = [
        columns.field(new).with_name(old) for old, new in renames if new in columns.names and old not in columns.names
    ]
    return pa.schema([*columns, *olds])


def names_due(table: str, columns: Iterable[str], key: Sequence[str], renames: Mapping[str, str]) -> dict[str, str]:
    """By column that is to be renamed its new name, those beside it too: `qty__text`, `qty__string`.

    Names that differ in case only are one name. Raises IncompatibleSchemaError where the new name is taken, and for a
    column of the key.
    """
    held = {name.casefold(): name for name in columns}
    due: dict[str, str] = {}
    for old, new in renames.items():
        there = held.get(old.casefold())
        if there is None or there == new:
            continue
        if there in key:
            raise IncompatibleSchemaError(
                f"table {table}: renames: {{{old}: {new}}}: {there!r} is a column of the key, which keeps its "
                "name; take it out of renames, and write to a new table"
            )
        due[there] = new
        for beside in (text_name(there), *columns_beside(there, held.values())):
            if beside in held.values():
                due[beside] = new + beside[len(there) :]
    kept = [name for name in held.values() if name not in due]
    seen = {name.casefold(): name for name in kept}
    for old, new in due.items():
        other = seen.setdefault(new.casefold(), old)
        if other != old:
            raise IncompatibleSchemaError(
                f"table {table}: renames: {{{old}: {new}}}: there is a column {other!r} too, and one of them would be "
                "lost; take it out of renames, or drop one at its place"
            )
    return due
