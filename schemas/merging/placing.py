"""Where the columns of changes go in a table whose columns have other types: `on_incompatible: new_column`.

A column goes into the first of these that can hold its type: the table's column of its name, then those beside it in
their order, then a new one beside. What a column cannot hold it can never hold later (`model.table.widened` is
associative), so a type goes to the same place however the table has grown since.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from ..model.change import UNAVAILABLE, masks_by_name, names_by_row, row_schema
from ..model.incompatible_columns import columns_beside, name_beside
from ..model.modes import MODE_COLUMNS
from ..model.spelling import respelled_rows, spellings
from ..model.table import widened

Widen = Callable[[pa.DataType, pa.DataType], pa.DataType | None]
"""The type that a table's column gets to hold another one too; None where it cannot."""


@dataclass(frozen=True, slots=True)
class Placing:
    """The table's `columns` once it has what was placed; `names`, for each placed schema, the columns that moved."""

    columns: pa.Schema
    names: Sequence[Mapping[str, str]]

    @property
    def moves(self) -> bool:
        """Whether some column goes elsewhere than into that of its name."""
        return any(self.names)


def place(key: Sequence[str], held: pa.Schema | None, schemas: Sequence[pa.Schema], widen: Widen = widened) -> Placing:
    """Place the columns of each schema in a table that holds `held` (None: there is none yet), one after the other.

    Columns of the key and of modes stay where they are.
    """
    kinds: dict[str, pa.DataType] = {} if held is None else {field.name: field.type for field in held}
    fixed, names = {name.casefold() for name in (*key, *MODE_COLUMNS)}, []
    for schema in schemas:
        spelled = spellings(schema.names, list(kinds))
        moved: dict[str, str] = {}
        for field in schema:
            target = spelled.get(field.name, field.name)
            if target.casefold() in fixed:
                kinds[target] = (widen(kinds[target], field.type) if target in kinds else None) or field.type
                continue
            target = _target(field.with_name(target), kinds, schema.names, widen)
            kinds[target] = (widen(kinds[target], field.type) if target in kinds else None) or field.type
            if target != spelled.get(field.name, field.name):
                moved[spelled.get(field.name, field.name)] = target
        names.append(moved)
    return Placing(pa.schema(list(kinds.items())), names)


def _target(field: pa.Field, kinds: Mapping[str, pa.DataType], own: Sequence[str], widen: Widen) -> str:
    beside = [name for name in columns_beside(field.name, kinds) if name not in own]
    for name in (field.name, *beside):
        if name not in kinds or widen(kinds[name], field.type) is not None:
            return name
    return name_beside(field.name, field.type, {*kinds, *own})


def placed_batches(
    key: Sequence[str], held: pa.Schema | None, batches: Sequence[pa.RecordBatch], widen: Widen = widened
) -> list[pa.RecordBatch]:
    """The changes with each column where the table has it. An unavailable value is so in all columns beside, too."""
    placing = place(key, held, [row_schema(batch.schema) for batch in batches], widen)
    return [_placed(batch, moved, placing.columns) for batch, moved in zip(batches, placing.names, strict=True)]


def _placed(batch: pa.RecordBatch, moved: Mapping[str, str], columns: pa.Schema) -> pa.RecordBatch:
    batch = respelled_rows(batch, columns.names)
    metadata, own = batch.schema.metadata, row_schema(batch.schema).names
    masks = masks_by_name(batch)
    if moved:
        batch = batch.rename_columns([moved.get(name, name) for name in batch.schema.names])
    whole = {name: [name, *(one for one in columns_beside(name, columns.names) if one not in own)] for name in masks}
    if any(len(names) > 1 for names in whole.values()):
        # The columns beside are named as unavailable, so the rows must have them.
        for name in {one for names in whole.values() for one in names} - set(batch.schema.names):
            batch = batch.append_column(name, pa.nulls(batch.num_rows, columns.field(name).type))
        at = batch.schema.get_field_index(UNAVAILABLE)
        everywhere = {one: masks[name] for name, names in whole.items() for one in names}
        batch = batch.set_column(at, batch.schema.field(at), names_by_row(everywhere, batch.num_rows))
    return batch.replace_schema_metadata(metadata)
