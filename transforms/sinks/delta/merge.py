"""What a Delta table holds of a delta's keys, by one pass over the key and position columns of the files near them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ....schemas.model.change import POSITION, UNAVAILABLE, masks_by_name
from ..shared.guard import Mask, Match, chosen, filled_from, partial_rows
from ..shared.key_index import KeyIndex, Numbers
from .columns import column_name, to_delta

BATCH_ROWS = 1 << 20


def prunable(delta: pa.Table, key: Sequence[str]) -> bool:
    """Whether files can be left out by the smallest and largest value of each key column.

    By MERGE for whole numbers and dates without NULLs only; `near` can do more.
    """
    kinds = (pa.types.is_signed_integer, pa.types.is_date32)
    return len(delta) > 0 and all(
        any(is_kind(delta.schema.field(name).type) for is_kind in kinds) and not delta.column(name).null_count
        for name in key
    )


def near(delta: pa.Table, key: Sequence[str]) -> Any:
    """A filter that every row of the delta's keys passes, or None; a data set leaves out files and row groups by it."""
    found = [where for name in key if (where := _range(delta.column(name), pc.field(name))) is not None]
    return reduce(lambda left, right: left & right, found) if found else None


@dataclass(frozen=True, slots=True)
class Found:
    """The match, and where the delta's position equals the held one."""

    match: Match
    same: Mask


def find(dataset: Any, key: Sequence[str], delta: pa.Table) -> Found:
    """Compare the delta's positions with those of its keys in the data set (columns as stored)."""
    index = KeyIndex([delta.column(name) for name in key])
    positions = delta.column(POSITION).combine_chunks()
    rows: list[Numbers] = [np.empty(0, np.int64)]
    newer: list[Mask] = [np.empty(0, np.bool_)]
    same: list[Mask] = [np.empty(0, np.bool_)]
    for batch in dataset.to_batches(columns=[*key, POSITION], filter=near(delta, key), batch_size=BATCH_ROWS):
        row, there = index.find([batch.column(name) for name in key])
        if len(row):
            mine, held = positions.take(pa.array(row)), batch.column(POSITION).take(pa.array(there))
            rows.append(row)
            newer.append(np.asarray(pc.greater(mine, held)))
            same.append(np.asarray(pc.equal(mine, held)))
    row = np.concatenate(rows)
    return Found(Match(row, np.concatenate(newer)), np.concatenate(same))


def fill(dataset: Any, key: Sequence[str], delta: pa.Table, floor: bytes | None) -> pa.Table:
    """The delta with unavailable values taken from the rows in the data set; NULL where there is none above `floor`."""
    partial = partial_rows(delta)
    if not partial.any():
        return delta.drop_columns([UNAVAILABLE]) if UNAVAILABLE in delta.column_names else delta
    rows = chosen(delta, partial).combine_chunks()
    values = [name for name in rows.column_names if name not in key]
    masks = {column_name(name): mask for name, mask in masks_by_name(rows).items() if column_name(name) in values}
    held, place = _held(dataset, key, rows, list(masks), floor)
    whole = [delta.filter(pa.array(~partial)), filled_from(held, place, masks, rows)]
    return pa.concat_tables([part.drop_columns([UNAVAILABLE]) for part in whole])


def _held(
    dataset: Any, key: Sequence[str], rows: pa.Table, names: list[str], floor: bytes | None
) -> tuple[pa.Table, Numbers]:
    """The data set's rows of these keys, and the place among them of each of `rows`, -1 where there is none."""
    index = KeyIndex([rows.column(name) for name in key])
    place = np.full(len(rows), -1)
    parts, count = [], 0
    columns = [*key, *names, POSITION]
    for batch in dataset.to_batches(columns=columns, filter=near(rows, key), batch_size=BATCH_ROWS):
        if floor is not None:
            batch = batch.filter(pc.greater(batch.column(POSITION), pa.scalar(floor, pa.binary())))
        row, there = index.find([batch.column(name) for name in key])
        place[row] = count + np.arange(len(row))
        parts.append(batch.select(names).take(pa.array(there)))
        count += len(row)
    schema = pa.schema([rows.schema.field(name) for name in names])
    return pa.Table.from_batches([part.cast(schema) for part in parts], schema=schema), place


def lookup(dataset: Any, keys: pa.Table, columns: Sequence[str], upto: bytes | None) -> Iterator[pa.RecordBatch]:
    """The rows (columns as stored) with one of these keys, as the stream has them, and a position of at most `upto`.

    Only the first key column prunes files, by the range of its values: whole numbers, dates and times.
    """
    stored = pa.Table.from_batches([to_delta(keys.schema, batch) for batch in keys.to_batches()])
    index, names = KeyIndex(stored.columns), stored.column_names
    where, most = _range(stored.column(0), pc.field(names[0])), pa.scalar(upto, pa.binary())
    wanted = list(dict.fromkeys([*columns, *names, POSITION]))
    for batch in dataset.to_batches(columns=wanted, filter=where, batch_size=BATCH_ROWS):
        _, there = index.find([batch.column(name) for name in names])
        if len(there):
            rows = batch.take(pa.array(there))
            rows = rows if upto is None else rows.filter(pc.less_equal(rows.column(POSITION).cast(pa.binary()), most))
            yield rows.select(list(columns))


def _range(values: pa.ChunkedArray, column: Any) -> Any:
    """Where `column` is between the least and the greatest of `values`; None where that tells nothing.

    Not of texts: deltalake gives a file of one text as a string_view, which Arrow's data sets cannot compare.
    """
    kind = values.type
    ordered = pa.types.is_integer(kind) or pa.types.is_date(kind)
    if not (ordered or pa.types.is_timestamp(kind)) or values.null_count or not len(values):
        return None
    ends = pc.min_max(values)
    return (column >= ends["min"]) & (column <= ends["max"])
