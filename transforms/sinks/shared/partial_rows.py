"""Rows that lack values which the source did not send, filled from the target's rows of the same keys."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ....schemas.model.change import UNAVAILABLE, masks_by_name
from .guard import Mask, Numbers, chosen
from .key_index import KeyIndex


def partial_rows(delta: pa.Table) -> Mask:
    """Rows that name unavailable columns."""
    if UNAVAILABLE not in delta.column_names:
        return np.zeros(len(delta), np.bool_)
    return pc.greater(pc.fill_null(pc.list_value_length(delta.column(UNAVAILABLE)), 0), 0).to_numpy()


def filled_from(held: pa.Table, place: Numbers, masks: Mapping[str, Mask], rows: pa.Table) -> pa.Table:
    """The rows with the values of each column's mask taken from `held`: its row at `place`, NULL where that is -1."""
    for name, mask in masks.items():
        at = rows.schema.get_field_index(name)
        field = rows.schema.field(at)
        number = np.where(mask, len(rows) + place, np.arange(len(rows)))
        chunks = [*rows.column(at).chunks, *(chunk.cast(field.type) for chunk in held.column(name).chunks)]
        values = pa.chunked_array(chunks, field.type).take(pa.array(number, mask=mask & (place < 0)))
        rows = rows.set_column(at, field, values)
    return rows


@dataclass(frozen=True, slots=True)
class HeldRows:
    """How a target's rows are found by key: `key` and the names of columns as the delta has them.

    `find` gives batches of the key and the named columns with all rows of these keys, maybe others among them.
    """

    key: Sequence[str]
    find: Callable[[pa.Table, list[str]], Iterator[pa.RecordBatch]]
    stored_name: Callable[[str], str] = str


def filled_from_target(delta: pa.Table, target: HeldRows) -> pa.Table:
    """The delta, whole rows first, with unavailable values as the target's rows have them; NULL where there is none."""
    partial = partial_rows(delta)
    if not partial.any():
        return delta
    rows = chosen(delta, partial).combine_chunks()
    masks = {target.stored_name(name): mask for name, mask in masks_by_name(rows).items()}
    masks = {name: mask for name, mask in masks.items() if name in rows.column_names and name not in target.key}
    names, index = list(masks), KeyIndex([rows.column(name) for name in target.key])
    # place: for each of `rows`, where among the held ones the row of its key stands
    place, parts, count = np.full(len(rows), -1), [], 0
    for batch in target.find(rows, names):
        row, there = index.find([batch.column(name) for name in target.key])
        place[row] = count + np.arange(len(row))
        parts.append(batch.select(names).take(pa.array(there)))
        count += len(row)
    schema = pa.schema([rows.schema.field(name) for name in names])
    held = pa.Table.from_batches([part.cast(schema) for part in parts], schema=schema)
    return pa.concat_tables([delta.filter(pa.array(~partial)), filled_from(held, place, masks, rows)])
