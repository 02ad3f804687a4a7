"""Flat messages of Debezium to changes: the row is the value, and what the transform adds says what happened.

`ExtractNewRecordState` puts the row in the place of the envelope. What `add.fields` names stands beside the columns,
with two underscores before it: `__op`, and of the source block `__lsn` or `__source_lsn`. Deletes are tombstones, or
rewritten: the old row, with `__deleted` as the text "true".
Format: https://debezium.io/documentation/reference/stable/transformations/event-flattening.html
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ...errors import SchemaError
from ...model.declared_type import STRING
from ...model.message_batch import MessageBatch
from ...model.route import Route
from ..envelope import DELETE, UPSERT, Envelope, Events
from ..old_keys import without_deleted
from .envelope import CREATE, READ, UPDATE, connector_of, number_of, op_codes
from .moved_keys import moved_keys
from .options import DebeziumOptions
from .placeholders import Placeholders
from .source_position import SOURCE_FIELDS, SOURCE_TYPES, bears_order, source_order

OP, DELETED, SOURCE = "__op", "__deleted", "__source_"
OF_SOURCE: Final = {
    f"{start}{name}": name for start in ("__", SOURCE) for name in sorted(SOURCE_FIELDS) if start + name != "__ts_ms"
}
"""By field the one of the source block that it is: `add.fields` may name it with its block or without.

Only `__ts_ms` is another one: when the connector sent the change.
"""
ADDED: Final = frozenset({OP, DELETED, *OF_SOURCE})
"""Fields that are no columns; others that the transform adds are."""
_NONE, _REMOVE = 0, ord("d")


class FlatDebeziumEnvelope(Envelope):
    """With `flat: tombstone` the place in the log is the order, for tombstones have no other.

    With `rewrite` it is the source's position, where the messages have one and say by `__op` which rows are a
    snapshot's.
    """

    def __init__(self, options: DebeziumOptions) -> None:
        self._placeholders = Placeholders(options.unavailable_value)
        self._rewritten = options.flat == "rewrite"
        self.null_deletes = not self._rewritten

    def events(self, value: pa.StructArray, route: Route) -> Events:
        # Of JSON without a schema, a field that was only ever null has no type yet: nothing is known by it.
        names = [field.name for field in value.type if field.name not in ADDED or not pa.types.is_null(field.type)]
        _check_types(value, names)
        if self._rewritten != (DELETED in names):
            raise SchemaError(
                f"the schema lacks {DELETED}: its deletes are no rewritten ones; see format.flat"
                if self._rewritten
                else f"the schema has {DELETED}: its deletes are rewritten ones; write format.flat: rewrite"
            )
        deleted = _true(value.field(DELETED)) if self._rewritten else np.zeros(len(value), np.bool_)
        op = op_codes(value.field(OP)) if OP in names else np.where(deleted, _REMOVE, UPDATE).astype(np.uint8)
        row = _struct(value, {name: name for name in names if name not in ADDED})
        wrong = (deleted != (op == _REMOVE), f"{OP} and {DELETED} do not say the same")
        unknown = (~np.isin(op, (READ, CREATE, UPDATE, _REMOVE)), f"unknown {OP}: only r, c, u and d are known")
        found = Events(
            what=np.where(deleted, DELETE, UPSERT).astype(np.int8),
            row=without_deleted(row, deleted),
            before=row,
            wrong=(unknown, wrong),
        )
        source = _struct(value, {OF_SOURCE[name]: name for name in reversed(names) if name in OF_SOURCE})
        if not self._rewritten or OP not in names or not source.type.num_fields:
            return found
        return _placed(found, source, op == READ)

    def blank_unavailable(self, columns: dict[str, pa.Array]) -> tuple[dict[str, pa.Array], pa.Array | None]:
        return self._placeholders.blank(columns)

    def moved_keys(
        self,
        messages: MessageBatch,
        rows: NDArray[np.int64],
        deletes: NDArray[np.bool_],
        unavailable: pa.Array | None,
    ) -> pa.Array | None:
        return moved_keys(messages, rows, deletes, unavailable)


def _check_types(value: pa.StructArray, names: Sequence[str]) -> None:
    """Raise SchemaError where a field of the transform has another type than Debezium gives it."""
    for name in names:
        kind = value.type.field(name).type
        said = SOURCE_TYPES.get(OF_SOURCE.get(name, ""), STRING if name in (OP, DELETED) else None)
        fits = pa.types.is_string(kind) if said == STRING else pa.types.is_integer(kind)
        if said is not None and not fits and not (name == DELETED and pa.types.is_boolean(kind)):
            raise SchemaError(f"{name} is of the type {kind}, which Debezium does not give it")


def _placed(events: Events, source: pa.StructArray, snapshot: NDArray[np.bool_]) -> Events:
    """The same events, with the positions that the source block names."""
    order, unread = source_order(source)
    unread &= ~snapshot
    return Events(
        what=events.what,
        row=events.row,
        before=events.before,
        order=order,
        placed=~(unread | snapshot),
        snapshot=snapshot if snapshot.any() else None,
        copied=snapshot if snapshot.any() else None,
        time=number_of(source, "ts_ms"),
        server=number_of(source, "server_id"),
        connector=connector_of(source),
        one_log=bears_order(source.type),
        wrong=(*events.wrong, (unread, "the fields of the source hold no position that can be read")),
    )


def _struct(value: pa.StructArray, fields: dict[str, str]) -> pa.StructArray:
    """A struct of these fields: by new name the old one."""
    types = [value.type.field(name).with_name(new) for new, name in fields.items()]
    if not types:
        return pa.nulls(len(value), pa.struct([]))
    return pa.StructArray.from_arrays([value.field(name) for name in fields.values()], fields=types)


def _true(column: pa.Array) -> NDArray[np.bool_]:
    """Where the text is "true", or the boolean is."""
    said = pc.equal(column, "true") if pa.types.is_string(column.type) else column.cast(pa.bool_())
    return np.asarray(said.fill_null(False))
