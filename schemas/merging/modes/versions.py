"""Versions of rows (`mode: scd2`): the changes of a commit among the versions that the target holds."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...model.change import POSITION, UNAVAILABLE, masks_by_name
from ...model.key import number_keys
from ...model.modes import MODE_COLUMNS, VERSION
from ...model.position import by_position, unpack
from ...model.table import Table, cast
from .current_rows import CurrentRows
from .version_rows import VersionChange, VersionRows, version_rows
from .version_timeline import HELD_COLUMNS, Index, line_up, stream_key, version_before


def versions(current: CurrentRows, table: Table, rows: pa.RecordBatch) -> VersionRows:
    """The changes as rows of versions, with the neighbours that they correct."""
    key = stream_key(table)
    codes, count = number_keys([rows.column(name) for name in key])
    keys = pa.table(rows.select(list(key)).take(pa.array(_firsts(codes, count))))
    held = current.find(keys, [*key, *HELD_COLUMNS], _latest_guard(rows))
    held = pa.table({name: _like(held.column(name), rows.schema, name) for name in held.column_names})
    change = VersionChange(table, held, line_up(table, rows, held))
    return version_rows(change, _filled(current, change, rows))


def _firsts(codes: NDArray[np.int32], count: int) -> Index:
    firsts = np.zeros(count, np.int64)
    firsts[codes[::-1]] = np.arange(len(codes))[::-1]
    return firsts


def _latest_guard(rows: pa.RecordBatch) -> bytes:
    """The guard of a version that ended with the first of these changes: one that ended before is out of reach."""
    words = unpack(rows.column(POSITION))
    first = words[by_position(words)[0]]
    return (~first).astype(">u8").tobytes()


def _like(column: pa.ChunkedArray, schema: pa.Schema, name: str) -> pa.ChunkedArray:
    kind = schema.field(name).type
    return pa.chunked_array([cast(chunk, kind) for chunk in column.chunks], kind)


def _filled(current: CurrentRows, change: VersionChange, rows: pa.RecordBatch) -> pa.RecordBatch:
    """The changes with values that were not sent as the target's version before each has them."""
    table, held, line = change.table, change.held, change.line
    masks = masks_by_name(rows)
    events = np.flatnonzero((line.row >= 0) & (line.held < 0) & line.upsert)
    # `before`: for each event the number of that version, -1 where there is none; `of` numbers it among `wanted`.
    before = version_before(line, events)
    lacking = np.asarray(rows.column(UNAVAILABLE).is_valid())[line.row[events]] & (before >= 0)
    if not masks or not lacking.any():
        return rows
    wanted, of = np.unique(before[lacking], return_inverse=True)
    key = [*stream_key(table), VERSION]
    keys = held.select(key).take(pa.array(wanted))
    columns = current.columns()
    known = [] if columns is None else columns.names
    found = current.find(keys, [*key, *(name for name in masks if name in known)])
    place = _places(keys, found, key)[of]
    row = line.row[events][lacking]
    for name in [name for name in masks if name in found.column_names and name not in MODE_COLUMNS]:
        column = rows.column(name)
        source = np.arange(len(column))
        source[row] = np.where(masks[name][row] & (place >= 0), len(column) + place, row)
        both = pa.concat_arrays([column, *_like(found.column(name), rows.schema, name).chunks])
        rows = rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), both.take(pa.array(source)))
    return rows


def _places(keys: pa.Table, found: pa.Table, names: Sequence[str]) -> Index:
    """The place among `found` of each of `keys`, -1 where it is not there."""
    joined = [
        pa.concat_arrays([*keys.column(name).chunks, *_like(found.column(name), keys.schema, name).chunks])
        for name in names
    ]
    codes, count = number_keys(joined)
    places = np.full(count, -1)
    places[codes[len(keys) :]] = np.arange(len(found))
    return places[codes[: len(keys)]]
