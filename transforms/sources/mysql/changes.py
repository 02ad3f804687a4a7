"""Blocks of a MySQL source to changes: rows with their key, operation and position."""

import json
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ....schemas.envelopes.decoded import Decoded
from ....schemas.errors import SourceError, TableError
from ....schemas.model.block import Block
from ....schemas.model.change import DELETE, UPSERT
from ....schemas.model.key_text import in_header
from ....schemas.model.route import Route
from ..rounds import end_copy
from ..row_changes import PartChanges, add_truncates, key_of
from .binlog.rows import DELETED, UPDATED
from .offsets import place_text
from .parts import CopyEnd, Emptied, Mask, Part, Whole, parts


def decode(block: Block, route: Route) -> Decoded:
    """Changes, counts and dead letters of a block.

    Raises TruncateError, and TableError for a table without a key, and for what the log does not say.
    """
    done = Decoded(block.topic, block.partition, block.first, block.stop, route.key or (), several=True)
    if not block.data:
        return done
    try:
        for part in parts(block):
            if isinstance(part, CopyEnd):
                end_copy(done, part.begun)
            elif isinstance(part, Emptied):
                _empty(done, part, route)
            else:
                _add(done, part, route)
    except SourceError as error:
        raise TableError(f"table {route.table}: {block.topic}: {error}") from None
    return done


def _empty(done: Decoded, part: Emptied, route: Route) -> None:
    done.read += 1
    said = f"a TRUNCATE or DROP of {done.topic} stands at {place_text(part.offset)}"
    add_truncates(done, route, part.position, np.array([part.time]), said)


def _add(done: Decoded, part: Part, route: Route) -> None:
    done.read += len(part.kind)
    done.key = key_of(done.topic, part.key, route)
    changes = PartChanges(done, route, part, "the log does not send it; SET GLOBAL binlog_row_image = 'FULL'")
    written, deleted = np.flatnonzero(part.kind != DELETED), np.flatnonzero(part.kind == DELETED)
    if len(written):
        _rows(changes, part, written)
    if len(deleted):
        _deletes(changes, part, deleted, None)


def _rows(changes: PartChanges, part: Part, chosen: Whole) -> None:
    """Inserted, updated and copied rows; before an update that changes the key, its old row is deleted."""
    struct = part.structs(chosen)
    masks = _of_rows(part.left_out, chosen)
    rows = changes.representable(chosen, struct)
    moved = _moves(changes, part, chosen, struct, masks)
    changes.add(UPSERT, rows, part.position(rows.numbers), _but_key(masks, changes.done.key), moved)


def _moves(
    changes: PartChanges, part: Part, chosen: Whole, struct: pa.StructArray, masks: Mapping[str, Mask]
) -> pa.Array | None:
    """Delete the old rows of updates that change the key; by row of `chosen` the old key as JSON, null elsewhere.

    Keys are told only where the log leaves out values, which are then found under the old key.
    """
    updated, key = np.flatnonzero(part.kind[chosen] == UPDATED), changes.done.key
    if not len(updated):
        return None
    old = part.structs(chosen[updated], before=True)
    differs = np.zeros(len(updated), np.bool_)
    for name in key:
        was, now = _field(old, name), _field(struct, name).take(pa.array(updated))
        told = np.asarray(was.is_valid()) & ~masks.get(name, np.zeros(len(chosen), np.bool_))[updated]
        differs |= told & ~np.asarray(pc.fill_null(pc.equal(was, now), False))
    left = np.flatnonzero(differs)
    if not len(left):
        return None
    was, now = (np.full(len(chosen), None, object) for _ in range(2))
    if masks or part.left_out_before:
        for i in left:
            was[updated[i]] = _key_text(old, int(i), key)
            now[updated[i]] = _key_text(struct, int(updated[i]), key)
    _deletes(changes, part, chosen[updated[left]], pa.array(now[updated[left]], pa.binary()))
    return pa.array(was, pa.binary())


def _key_text(struct: pa.StructArray, row: int, key: tuple[str, ...]) -> bytes:
    values = {name: _field(struct, name) for name in key}
    return json.dumps({name: in_header(column[row].as_py(), column.type) for name, column in values.items()}).encode()


def _field(struct: pa.StructArray, name: str) -> pa.Array:
    place = struct.type.get_field_index(name)
    return pa.nulls(len(struct)) if place < 0 else struct.field(place)


def _deletes(changes: PartChanges, part: Part, chosen: Whole, moved: pa.Array | None) -> None:
    """Deletes of the rows before; of a key change by row of `chosen` to the key in `moved`."""
    letters = changes.done.letters
    dead = len(letters)
    rows = changes.representable(chosen, part.structs(chosen, before=True))
    if moved is not None:
        del letters[dead:]
    masks = _but_key(_of_rows(part.left_out_before, chosen), changes.done.key)
    changes.add(DELETE, rows, part.position(rows.numbers), masks, moved)


def _of_rows(masks: Mapping[str, Mask], chosen: Whole) -> dict[str, Mask]:
    return {name: mask[chosen] for name, mask in masks.items() if mask[chosen].any()}


def _but_key(masks: Mapping[str, Mask], key: tuple[str, ...]) -> dict[str, Mask]:
    return {name: mask for name, mask in masks.items() if name not in key}
