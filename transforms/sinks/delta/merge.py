"""What a Delta table holds of a delta's keys, by one pass over the key and position columns of the files near them."""

from collections.abc import Iterator, Sequence
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ....schemas.model.change import POSITION, UNAVAILABLE
from ..shared.guard import Mask, Match, Numbers, above
from ..shared.key_index import KeyIndex
from ..shared.partial_rows import HeldRows, filled_from_target
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


def find(dataset: Any, key: Sequence[str], delta: pa.Table) -> Match:
    """Compare the delta's positions with those of its keys in the data set (columns as stored)."""
    index = KeyIndex([delta.column(name) for name in key])
    positions = delta.column(POSITION).combine_chunks()
    # By batch of the data set: numbers of the delta's rows, and how their positions compare with the held ones.
    rows: list[Numbers] = [np.empty(0, np.int64)]
    newer: list[Mask] = [np.empty(0, np.bool_)]
    same: list[Mask] = [np.empty(0, np.bool_)]
    for batch in dataset.to_batches(columns=[*key, POSITION], filter=near(delta, key), batch_size=BATCH_ROWS):
        row, there = index.find([batch.column(name) for name in key])
        if len(row):
            mine, held = positions.take(pa.array(row)), batch.column(POSITION).take(pa.array(there))
            rows.append(row)
            newer.append(above(mine, held))
            same.append(np.asarray(pc.fill_null(pc.equal(mine, held), False)))
    return Match(np.concatenate(rows), np.concatenate(newer), np.concatenate(same))


def fill(dataset: Any, key: Sequence[str], delta: pa.Table, floor: bytes | None) -> pa.Table:
    """The delta with unavailable values as the data set's rows above `floor` have them; NULL where there is none."""

    def find_rows(rows: pa.Table, names: list[str]) -> Iterator[pa.RecordBatch]:
        columns = [*key, *names, POSITION]
        for batch in dataset.to_batches(columns=columns, filter=near(rows, key), batch_size=BATCH_ROWS):
            if floor is not None:
                batch = batch.filter(pc.greater(batch.column(POSITION), pa.scalar(floor, pa.binary())))
            yield batch

    filled = filled_from_target(delta, HeldRows(key, find_rows, column_name))
    return filled.drop_columns([UNAVAILABLE]) if UNAVAILABLE in filled.column_names else filled


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
