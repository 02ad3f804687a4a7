"""Blocks of a Postgres source to changes: rows with their key, operation and position."""

import json
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ....schemas.envelopes.decoded import Decoded
from ....schemas.errors import TableError, TruncateError
from ....schemas.model.block import Block
from ....schemas.model.change import DELETE, UPSERT, names_by_row
from ....schemas.model.change_batch import ChangeColumns, change_batch
from ....schemas.model.dead_letter import DeadLetter
from ....schemas.model.representable import Represented, represented, represented_key
from ....schemas.model.route import OnTruncate, Route
from ....schemas.model.value_texts import text_field
from ..log_records import AT, KIND, LENGTH, OFFSET, SCHEMA, TIME, TransactionCounter, read_records
from .blocks import COPIED, DELETED, TRUNCATED, TableSchema, lsn_text
from .columns import column_of
from .key_moves import differing_keys, old_keys
from .part import Part, Whole
from .pgoutput import NULL, UNCHANGED, find_rows

PART_RECORDS: Final = 100_000
"""Records that are decoded at once: of a large transaction, the places of all values would not fit into memory."""
INSIDE: Final = 24
"""Bits for the place of a row within its chunk of a copy."""


def decode(block: Block, route: Route) -> Decoded:
    """Changes, counts and dead letters of a block.

    Raises TruncateError, and TableError for a table without a key, or a row that its schema does not describe.
    """
    done = Decoded(block.topic, block.partition, block.first, block.stop, route.key or ())
    if not block.data:
        return done
    data, found = read_records(block.data)
    inside = (found[:, OFFSET] >= block.first) & (found[:, OFFSET] < block.stop) | (found[:, KIND] == SCHEMA)
    found = found[inside]
    counting = TransactionCounter()
    for schema, rows in _by_schema(block.data, found):
        for low in range(0, len(rows), PART_RECORDS):
            _add(done, _part(data, schema, rows[low : low + PART_RECORDS], counting, route), route)
    return done


def _by_schema(data: bytes, found: Whole) -> Iterator[tuple[TableSchema, Whole]]:
    """The records that one schema describes, together; pieces of a block often repeat the schema before."""
    schemas = np.flatnonzero(found[:, KIND] == SCHEMA)
    texts = [data[at : at + size] for at, size in found[schemas][:, [AT, LENGTH]].tolist()]
    stops = [*schemas[1:].tolist(), len(found)]
    places = zip(texts, schemas.tolist(), stops, strict=True)
    for text, group in groupby(places, key=itemgetter(0)):
        rows = np.concatenate([found[first + 1 : stop] for _, first, stop in group])
        if len(rows):
            yield TableSchema.of_text(text), rows


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
    inner = np.where(copied, (offset << INSIDE) + 2 * numbers, 2 * numbers).astype(np.uint64)
    commit = np.where(copied, 0, offset).astype(np.uint64)
    return Part(data, schema, rows, offset, found[rows.record, TIME], commit, inner)


def _add(done: Decoded, part: Part, route: Route) -> None:
    rows = part.rows
    done.read += len(rows.kind)
    key = route.key or part.schema.key
    if not key:
        raise TableError(
            f"table {route.table}: {done.topic} has no primary key; name its key in the job file, "
            f"tables: - {{from: {done.topic}, key: [...]}}"
        )
    done.key = key
    _truncates(done, part, np.flatnonzero(rows.kind == TRUNCATED), route)
    _rows(done, part, np.flatnonzero((rows.kind != TRUNCATED) & (rows.kind != DELETED)), route, key)
    deleted = np.flatnonzero(rows.kind == DELETED)
    if len(deleted):
        _deletes(done, part, deleted, route, None)


def _truncates(done: Decoded, part: Part, chosen: Whole, route: Route) -> None:
    if not len(chosen):
        return
    if route.on_truncate is OnTruncate.FAIL:
        raise TruncateError(
            f"table {route.table}: a TRUNCATE stands in {done.topic} at {lsn_text(int(part.offset[chosen[0]]))}; say "
            "in the job file under tables what it does: on_truncate: apply (empties the table) or on_truncate: ignore"
        )
    if route.on_truncate is OnTruncate.IGNORE:
        done.filtered += len(chosen)
        return
    position = part.position(chosen)
    done.truncates += len(chosen)
    done.truncate = max(max(position.to_pylist()), done.truncate or b"")
    marks = ChangeColumns(
        op=np.full(len(chosen), DELETE, np.int8),
        position=position,
        source=route.number(done.topic, done.partition),
        time=part.time[chosen] if route.timed else None,
    )
    done.emptied.append(change_batch({}, marks))


def _rows(done: Decoded, part: Part, chosen: Whole, route: Route, key: tuple[str, ...]) -> None:
    """Inserted, updated and copied rows; before an update that changes the key, its old row is deleted."""
    if not len(chosen):
        return
    at, size = part.rows.at[:, chosen].copy(), part.rows.size[:, chosen].copy()
    old = part.rows.old[chosen]
    # Where the whole row before was sent, what was left unchanged is there.
    whole = (size == UNCHANGED) & (old == ord("O"))[None, :]
    at[whole] = part.rows.old_at[:, chosen][whole]
    size[whole] = part.rows.old_size[:, chosen][whole]
    struct = _struct(part, at, size)
    masks = {c.name: size[i] == UNCHANGED for i, c in enumerate(part.schema.columns) if (size[i] == UNCHANGED).any()}
    row, keys, good = _representable(done, part, chosen, struct, route, key)
    headers: pa.Array | None = None
    before = np.flatnonzero(old != 0)
    if len(before):
        headers = _moves(done, part, chosen, before, route, key)
    columns = dict(zip(row.type.names, row.flatten(), strict=True)) | dict(zip(key, keys.flatten(), strict=True))
    unavailable = names_by_row({name: mask[good] for name, mask in masks.items()}, len(good)) if masks else None
    marks = ChangeColumns(
        op=np.full(len(good), UPSERT, np.int8),
        position=part.position(chosen[good]),
        source=route.number(done.topic, done.partition),
        unavailable=unavailable,
        moved=headers.take(pa.array(good)) if headers is not None else None,
        time=part.time[chosen[good]] if route.timed else None,
    )
    if len(good):
        done.changes.append(change_batch(columns, marks))


def _moves(
    done: Decoded,
    part: Part,
    chosen: Whole,
    before: Whole,
    route: Route,
    key: tuple[str, ...],
) -> pa.Array | None:
    """Delete the old rows of updates that change the key; by row of `chosen` the old key as JSON, null elsewhere."""
    old_rows = chosen[before]
    names = [column.name for column in part.schema.columns]
    numbers = [names.index(name) for name in key]
    left = np.flatnonzero(differing_keys(part, old_rows, numbers))
    if not len(left):
        return None
    texts = old_keys(part, old_rows[left], dict(zip(key, numbers, strict=True)))
    _deletes(done, part, old_rows[left], route, pa.array(texts, pa.binary()))
    headers: list[bytes | None] = [None] * len(chosen)
    for i, text in zip(left, texts, strict=True):
        headers[int(before[i])] = text
    return pa.array(headers, pa.binary())


def _deletes(done: Decoded, part: Part, chosen: Whole, route: Route, moved: pa.Array | None) -> None:
    """Deletes of the rows before. Those of key changes (`moved` are their keys) stand just before the row's own place.

    They do not count. Marked so, the last values of the old key in the same window are found.
    """
    key, accounted = done.key, moved is None
    struct = _struct(part, part.rows.old_at[:, chosen], part.rows.old_size[:, chosen])
    dead = len(done.letters)
    row, keys, good = _representable(done, part, chosen, struct, route, key)
    if not accounted:
        del done.letters[dead:]
    if not len(good):
        return
    columns = dict(zip(row.type.names, row.flatten(), strict=True)) | dict(zip(key, keys.flatten(), strict=True))
    marks = ChangeColumns(
        op=np.full(len(good), DELETE, np.int8),
        position=part.position(chosen[good], 1 if accounted else 0),
        source=route.number(done.topic, done.partition) if accounted else -1,
        moved=None if moved is None else moved.take(pa.array(good)),
        time=part.time[chosen[good]] if route.timed else None,
    )
    done.changes.append(change_batch(columns, marks))


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


def _representable(
    done: Decoded, part: Part, chosen: Whole, struct: pa.StructArray, route: Route, key: tuple[str, ...]
) -> tuple[pa.StructArray, pa.StructArray, Whole]:
    """The rows and their keys as the job wants odd values, and which of `chosen` they are; the others are dead."""
    missing = [name for name in key if struct.type.get_field_index(name) < 0]
    if missing:
        raise TableError(f"table {route.table}: {done.topic} has no column {missing[0]}, which the key names")
    row = represented(struct, route.on_unrepresentable)
    names = [field.name for field in struct.type if field.name in key or field.name.removesuffix("__text") in key]
    fields = [struct.type.field(name) for name in names]
    only = pa.StructArray.from_arrays([struct.field(name) for name in names], fields=fields)
    keys = represented_key(only, route.on_unrepresentable)
    refused = np.zeros(len(chosen), np.bool_)
    for one in (row, keys):
        if one.refused is not None:
            for i in np.flatnonzero(one.refused & ~refused):
                done.letters.append(_letter(done, part, int(chosen[i]), one, int(i)))
            refused |= one.refused
    whole = np.all([np.asarray(keys.struct.field(name).is_valid()) for name in key], axis=0)
    for i in np.flatnonzero(~whole & ~refused):
        error = (
            f"no value for the key ({', '.join(key)}): the table's REPLICA IDENTITY does not send it; "
            f"ALTER TABLE {done.topic} REPLICA IDENTITY FULL"
        )
        done.letters.append(_letter(done, part, int(chosen[i]), error, int(i)))
    good = np.flatnonzero(~refused & whole)
    ordered = pa.StructArray.from_arrays([keys.struct.field(name) for name in key], list(key))
    if len(good) == len(chosen):
        return row.struct, ordered, good
    return row.struct.take(pa.array(good)), ordered.take(pa.array(good)), good


def _letter(done: Decoded, part: Part, row: int, why: Represented | str, number: int) -> DeadLetter:
    """The values of the row as JSON texts by column."""
    rows = part.rows
    old = part.rows.kind[row] == DELETED
    at, size = (rows.old_at, rows.old_size) if old else (rows.at, rows.size)
    texts = {
        column.name: bytes(part.data[at[i, row] : at[i, row] + size[i, row]]).decode(errors="replace")
        for i, column in enumerate(part.schema.columns)
        if size[i, row] > NULL
    }
    error = why if isinstance(why, str) else why.reason(number)
    value = json.dumps(texts).encode()
    offset, time = int(part.offset[row]), int(part.time[row])
    return DeadLetter(done.topic, done.partition, offset, time, None, value, None, "apply", error)
