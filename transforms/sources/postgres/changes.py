"""Blocks of a Postgres source to changes: rows with their key, operation and position."""

from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ....schemas.envelopes.decoded import Decoded
from ....schemas.errors import TableError
from ....schemas.model.block import Block
from ....schemas.model.change import DELETE, UPSERT
from ....schemas.model.route import Route
from ....schemas.model.value_texts import text_field
from ..log_records import AT, KIND, OFFSET, SCHEMA, TIME, TransactionCounter, read_records
from ..rounds import ENDED, end_copy, high_and_low
from ..row_changes import PartChanges, add_truncates, key_of
from .blocks import COPIED, DELETED, TRUNCATED, TableSchema, by_schema, lsn_text
from .columns import column_of
from .key_moves import differing_keys, old_keys
from .part import Part, Whole
from .pgoutput import UNCHANGED, find_rows

PART_RECORDS: Final = 100_000
"""Records that are decoded at once: of a large transaction, the places of all values would not fit into memory."""


def decode(block: Block, route: Route) -> Decoded:
    """Changes, counts and dead letters of a block.

    Raises TruncateError, and TableError for a table without a key, or a row that its schema does not describe.
    """
    done = Decoded(block.topic, block.partition, block.first, block.stop, route.key or (), several=True)
    if not block.data:
        return done
    data, found = read_records(block.data)
    inside = (found[:, OFFSET] >= block.first) & (found[:, OFFSET] < block.stop) | (found[:, KIND] == SCHEMA)
    found = found[inside]
    ends = found[:, KIND] == ENDED
    for at in found[ends][:, AT].tolist():
        end_copy(done, int.from_bytes(block.data[at : at + 8], "little"))
    found = found[~ends]
    counting = TransactionCounter()
    for schema, rows in by_schema(block.data, found):
        for low in range(0, len(rows), PART_RECORDS):
            _add(done, _part(data, schema, rows[low : low + PART_RECORDS], counting, route), route)
    return done


def _part(
    data: NDArray[np.uint8], schema: TableSchema, found: Whole, counting: TransactionCounter, route: Route
) -> Part:
    try:
        rows = find_rows(data, np.ascontiguousarray(found), len(schema.columns))
    except ValueError as error:
        raise TableError(f"table {route.table}: {error}") from None
    offset, copied = found[rows.record, OFFSET], rows.kind == COPIED
    numbers = counting.places(offset)
    # A copy is older than all that is streamed; its later chunks are newer, for a row that moved is read twice.
    high, low = high_and_low(offset, 2 * numbers)
    inner = np.where(copied, low, 2 * numbers).astype(np.uint64)
    commit = np.where(copied, high, offset).astype(np.uint64)
    return Part(data, schema, rows, offset, found[rows.record, TIME], commit, inner)


def _add(done: Decoded, part: Part, route: Route) -> None:
    rows = part.rows
    done.read += len(rows.kind)
    done.key = key_of(done.topic, part.schema.key, route)
    unsent = f"the table's REPLICA IDENTITY does not send it; ALTER TABLE {done.topic} REPLICA IDENTITY FULL"
    changes = PartChanges(done, route, part, unsent)
    emptied = np.flatnonzero(rows.kind == TRUNCATED)
    if len(emptied):
        said = f"a TRUNCATE stands in {done.topic} at {lsn_text(int(part.offset[emptied[0]]))}"
        add_truncates(done, route, part.position(emptied), part.time[emptied], said)
    written = np.flatnonzero((rows.kind != TRUNCATED) & (rows.kind != DELETED))
    if len(written):
        _rows(changes, part, written)
    deleted = np.flatnonzero(rows.kind == DELETED)
    if len(deleted):
        _deletes(changes, part, deleted, None)


def _rows(changes: PartChanges, part: Part, chosen: Whole) -> None:
    """Inserted, updated and copied rows; before an update that changes the key, its old row is deleted."""
    at, size = part.rows.at[:, chosen].copy(), part.rows.size[:, chosen].copy()
    old = part.rows.old[chosen]
    # Where the whole row before was sent, what was left unchanged is there.
    whole = (size == UNCHANGED) & (old == ord("O"))[None, :]
    at[whole] = part.rows.old_at[:, chosen][whole]
    size[whole] = part.rows.old_size[:, chosen][whole]
    masks = {c.name: size[i] == UNCHANGED for i, c in enumerate(part.schema.columns) if (size[i] == UNCHANGED).any()}
    rows = changes.representable(chosen, _struct(part, at, size))
    before = np.flatnonzero(old != 0)
    moved = _moves(changes, part, chosen, before) if len(before) else None
    changes.add(UPSERT, rows, part.position(rows.numbers), masks, moved)


def _moves(changes: PartChanges, part: Part, chosen: Whole, before: Whole) -> pa.Array | None:
    """Delete the old rows of updates that change the key; by row of `chosen` the old key as JSON, null elsewhere."""
    old_rows, key = chosen[before], changes.done.key
    names = [column.name for column in part.schema.columns]
    numbers = [names.index(name) for name in key]
    left = np.flatnonzero(differing_keys(part, old_rows, numbers))
    if not len(left):
        return None
    texts = old_keys(part, old_rows[left], dict(zip(key, numbers, strict=True)))
    _deletes(changes, part, old_rows[left], pa.array(texts, pa.binary()))
    headers: list[bytes | None] = [None] * len(chosen)
    for i, text in zip(left, texts, strict=True):
        headers[int(before[i])] = text
    return pa.array(headers, pa.binary())


def _deletes(changes: PartChanges, part: Part, chosen: Whole, moved: pa.Array | None) -> None:
    """Deletes of the rows before. Those of key changes (`moved` are their keys) stand just before the row's own place.

    Marked so, the last values of the old key in the same window are found.
    """
    letters = changes.done.letters
    dead = len(letters)
    rows = changes.representable(chosen, _struct(part, part.rows.old_at[:, chosen], part.rows.old_size[:, chosen]))
    if moved is not None:
        del letters[dead:]
    changes.add(DELETE, rows, part.position(rows.numbers, 1 if moved is None else 0), {}, moved)


def _struct(part: Part, at: NDArray[np.int64], size: NDArray[np.int64]) -> pa.StructArray:
    """The rows in the types of their columns, with the texts of values that those have not."""
    fields: list[pa.Field] = []
    arrays: list[pa.Array] = []
    for i, column in enumerate(part.schema.columns):
        values, texts = column_of(part.data, np.ascontiguousarray(at[i]), np.ascontiguousarray(size[i]), column)
        fields.append(pa.field(column.name, values.type))
        arrays.append(values)
        if texts is not None:
            fields.append(text_field(column.name))
            arrays.append(texts)
    return pa.StructArray.from_arrays(arrays, fields=fields)
