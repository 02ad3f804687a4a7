"""Blocks of a MySQL source to changes: rows with their key, operation and position."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ....schemas.envelopes.decoded import Decoded
from ....schemas.errors import SourceError, TableError, TruncateError
from ....schemas.model.block import Block
from ....schemas.model.change import DELETE, UPSERT, names_by_row
from ....schemas.model.change_batch import ChangeColumns, change_batch
from ....schemas.model.dead_letter import DeadLetter
from ....schemas.model.key_text import in_header
from ....schemas.model.representable import represented, represented_key
from ....schemas.model.route import OnTruncate, Route
from .binlog.rows import DELETED, UPDATED
from .offsets import place_text
from .parts import Emptied, Mask, Part, Whole, parts


def decode(block: Block, route: Route) -> Decoded:
    """Changes, counts and dead letters of a block.

    Raises TruncateError, and TableError for a table without a key, and for what the log does not say.
    """
    done = Decoded(block.topic, block.partition, block.first, block.stop, route.key or ())
    if not block.data:
        return done
    try:
        for part in parts(block):
            if isinstance(part, Emptied):
                _empty(done, part, route)
            else:
                _add(done, part, route)
    except SourceError as error:
        raise TableError(f"table {route.table}: {block.topic}: {error}") from None
    return done


def _empty(done: Decoded, part: Emptied, route: Route) -> None:
    done.read += 1
    if route.on_truncate is OnTruncate.FAIL:
        raise TruncateError(
            f"table {route.table}: a TRUNCATE or DROP of {done.topic} stands at {place_text(part.offset)}; say in the "
            "job file under tables what it does: on_truncate: apply (empties the table) or on_truncate: ignore"
        )
    if route.on_truncate is OnTruncate.IGNORE:
        done.filtered += 1
        return
    done.truncates += 1
    done.truncate = max(part.position[0].as_py(), done.truncate or b"")
    marks = ChangeColumns(
        op=np.full(1, DELETE, np.int8),
        position=part.position,
        source=route.number(done.topic, done.partition),
        time=np.array([part.time]) if route.timed else None,
    )
    done.emptied.append(change_batch({}, marks))


def _add(done: Decoded, part: Part, route: Route) -> None:
    done.read += len(part.kind)
    key = route.key or part.key
    if not key:
        raise TableError(
            f"table {route.table}: {done.topic} has no primary key; name its key in the job file, "
            f"tables: - {{from: {done.topic}, key: [...]}}"
        )
    done.key = key
    written, deleted = np.flatnonzero(part.kind != DELETED), np.flatnonzero(part.kind == DELETED)
    if len(written):
        _rows(done, part, written, route)
    if len(deleted):
        _deletes(done, part, deleted, route, None)


def _rows(done: Decoded, part: Part, chosen: Whole, route: Route) -> None:
    """Inserted, updated and copied rows; before an update that changes the key, its old row is deleted."""
    struct = part.structs(chosen)
    masks = _of_rows(part.left_out, chosen)
    row, keys, good = _representable(done, part, chosen, struct, route)
    moved = _moves(done, part, chosen, struct, masks, route)
    columns = _columns(row, keys, done.key)
    marks = ChangeColumns(
        op=np.full(len(good), UPSERT, np.int8),
        position=part.position(chosen[good]),
        source=route.number(done.topic, done.partition),
        unavailable=_unavailable(masks, good, done.key),
        moved=moved.take(pa.array(good)) if moved is not None else None,
        time=part.time[chosen[good]] if route.timed else None,
    )
    if len(good):
        done.changes.append(change_batch(columns, marks))


def _moves(
    done: Decoded, part: Part, chosen: Whole, struct: pa.StructArray, masks: Mapping[str, Mask], route: Route
) -> pa.Array | None:
    """Delete the old rows of updates that change the key; by row of `chosen` the old key as JSON, null elsewhere.

    Keys are told only where the log leaves out values, which are then found under the old key.
    """
    updated = np.flatnonzero(part.kind[chosen] == UPDATED)
    if not len(updated):
        return None
    old = part.structs(chosen[updated], before=True)
    differs = np.zeros(len(updated), np.bool_)
    for name in done.key:
        was, now = _field(old, name), _field(struct, name).take(pa.array(updated))
        told = np.asarray(was.is_valid()) & ~masks.get(name, np.zeros(len(chosen), np.bool_))[updated]
        differs |= told & ~np.asarray(pc.fill_null(pc.equal(was, now), False))
    left = np.flatnonzero(differs)
    if not len(left):
        return None
    was, now = (np.full(len(chosen), None, object) for _ in range(2))
    if masks or part.left_out_before:
        for i in left:
            was[updated[i]] = _key_text(old, int(i), done.key)
            now[updated[i]] = _key_text(struct, int(updated[i]), done.key)
    _deletes(done, part, chosen[updated[left]], route, pa.array(now[updated[left]], pa.binary()))
    return pa.array(was, pa.binary())


def _key_text(struct: pa.StructArray, row: int, key: tuple[str, ...]) -> bytes:
    values = {name: _field(struct, name) for name in key}
    return json.dumps({name: in_header(column[row].as_py(), column.type) for name, column in values.items()}).encode()


def _field(struct: pa.StructArray, name: str) -> pa.Array:
    place = struct.type.get_field_index(name)
    return pa.nulls(len(struct)) if place < 0 else struct.field(place)


def _deletes(done: Decoded, part: Part, chosen: Whole, route: Route, moved: pa.Array | None) -> None:
    """Deletes of the rows before. Those of key changes, by row of `chosen` to the key in `moved`, do not count."""
    accounted = moved is None
    struct = part.structs(chosen, before=True)
    dead = len(done.letters)
    row, keys, good = _representable(done, part, chosen, struct, route)
    if not accounted:
        del done.letters[dead:]
    if not len(good):
        return
    marks = ChangeColumns(
        op=np.full(len(good), DELETE, np.int8),
        position=part.position(chosen[good]),
        source=route.number(done.topic, done.partition) if accounted else -1,
        unavailable=_unavailable(_of_rows(part.left_out_before, chosen), good, done.key),
        moved=None if moved is None else moved.take(pa.array(good)),
        time=part.time[chosen[good]] if route.timed else None,
    )
    done.changes.append(change_batch(_columns(row, keys, done.key), marks))


def _of_rows(masks: Mapping[str, Mask], chosen: Whole) -> dict[str, Mask]:
    return {name: mask[chosen] for name, mask in masks.items() if mask[chosen].any()}


def _unavailable(masks: Mapping[str, Mask], good: Whole, key: tuple[str, ...]) -> pa.Array | None:
    """By row the columns whose values were not sent."""
    kept = {name: mask[good] for name, mask in masks.items() if name not in key}
    return names_by_row(kept, len(good)) if kept else None


def _columns(row: pa.StructArray, keys: pa.StructArray, key: tuple[str, ...]) -> dict[str, pa.Array]:
    return dict(zip(row.type.names, row.flatten(), strict=True)) | dict(zip(key, keys.flatten(), strict=True))


def _representable(
    done: Decoded, part: Part, chosen: Whole, struct: pa.StructArray, route: Route
) -> tuple[pa.StructArray, pa.StructArray, Whole]:
    """The rows and their keys as the job wants odd values, and which of `chosen` they are; the others are dead."""
    key = done.key
    missing = [name for name in key if struct.type.get_field_index(name) < 0]
    if missing:
        raise TableError(f"table {route.table}: {done.topic} has no column {missing[0]}, which the key names")
    row = represented(struct, route.on_unrepresentable)
    names = [field.name for field in struct.type if field.name in key or field.name.removesuffix("__text") in key]
    only = pa.StructArray.from_arrays(
        [struct.field(name) for name in names], fields=[struct.type.field(name) for name in names]
    )
    keys = represented_key(only, route.on_unrepresentable)
    refused = np.zeros(len(chosen), np.bool_)
    for one in (row, keys):
        if one.refused is not None:
            for i in np.flatnonzero(one.refused & ~refused):
                done.letters.append(_letter(done, part, int(chosen[i]), struct[int(i)], one.reason(int(i))))
            refused |= one.refused
    whole = np.all([np.asarray(keys.struct.field(name).is_valid()) for name in key], axis=0)
    for i in np.flatnonzero(~whole & ~refused):
        error = (
            f"no value for the key ({', '.join(key)}): the log does not send it; SET GLOBAL binlog_row_image = 'FULL'"
        )
        done.letters.append(_letter(done, part, int(chosen[i]), struct[int(i)], error))
    good = np.flatnonzero(~refused & whole)
    ordered = pa.StructArray.from_arrays([keys.struct.field(name) for name in key], list(key))
    if len(good) == len(chosen):
        return row.struct, ordered, good
    return row.struct.take(pa.array(good)), ordered.take(pa.array(good)), good


def _letter(done: Decoded, part: Part, row: int, values: Any, error: str) -> DeadLetter:
    """The values of the row as JSON by column."""
    value = json.dumps(values.as_py(), default=str).encode()
    offset, time = int(part.offset[row]), int(part.time[row])
    return DeadLetter(done.topic, done.partition, offset, time, None, value, None, "apply", error)
