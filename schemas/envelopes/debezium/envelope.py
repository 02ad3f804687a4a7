"""Debezium envelopes to changes: r c u d t m, tombstones, unavailable values, key changes.

Positions as in `schemas.position`; a snapshot row (`r`) has (0, 0, offset), so that it loses against any
streamed change of its key. Format: https://debezium.io/documentation/reference/stable/connectors/postgresql.html
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ...encodings.message_reader import Failures, Group, MessageReader
from ...encodings.schema_store import SchemaStore
from ...encodings.wire_format import Framing
from ...errors import TruncateError
from ...model.change import DELETE, UPSERT
from ...model.change_batch import ChangeColumns, change_batch, take_positions
from ...model.message_batch import MessageBatch
from ...model.position import pack
from ...model.route import OnTruncate, Route
from ..decoder import Decoded
from ..key_columns import fitted, refuse_own_names
from .placeholders import blank_unavailable, moved_keys
from .source_position import SOURCE_FIELDS, source_order
from .tombstones import TombstoneContext, lone_tombstones, tombstone_order

READ, CREATE, UPDATE, REMOVE, TRUNCATE, MESSAGE = (ord(op) for op in "rcudtm")
UPSERTS: Final = (CREATE, UPDATE, READ)


@dataclass(frozen=True, slots=True)
class DecodeContext:
    """One block while it is decoded."""

    route: Route
    records: MessageBatch
    failures: Failures
    done: Decoded
    trail: TombstoneContext

    @property
    def source(self) -> int:
        return self.route.number(self.records.topic, self.records.partition)

    def time(self, rows: NDArray[np.int64]) -> NDArray[np.int64] | None:
        return self.records.timestamp[rows] if self.route.timed else None

    def fail(self, rows: NDArray[np.int64], error: str, schema_id: int | None) -> None:
        for row in rows:
            self.failures.add(int(row), "envelope", error, schema_id)


class DebeziumDecoder:
    """Decodes one topic of Debezium envelopes; the key is the message key's fields, or the route's columns."""

    def __init__(self, contracts: SchemaStore, topic: str, route: Route, framing: Framing = Framing.AUTO) -> None:
        self._route = route
        self._reader = MessageReader(contracts, topic, framing, self._keep)

    def _keep(self, path: tuple[str, ...]) -> bool:
        if path[0] == "source":
            return len(path) == 1 or path[1] in SOURCE_FIELDS
        if path[0] == "before":
            return self._route.key is not None and (len(path) == 1 or path[1] in self._route.key)
        return path[0] in ("after", "op")

    def decode(self, messages: MessageBatch) -> Decoded:
        """Changes, counts and dead letters of the messages; raises RegistryError, TableError."""
        done = Decoded.of(messages, self._route.key or ())
        page = DecodeContext(self._route, messages, Failures(messages), done, TombstoneContext.of(len(messages)))
        tombstones: list[Group] = []
        for group in self._reader.read(messages, page.failures, keys_of_values=self._route.key is None):
            if group.value is None:
                tombstones.append(group)
            else:
                _envelopes(page, group, group.value)
        for group in tombstones:
            _tombstones(page, group)
        done.letters = page.failures.letters
        return done


def _envelopes(page: DecodeContext, group: Group, value: pa.StructArray) -> None:
    names = {field.name for field in value.type}
    if not {"op", "after"} <= names or not pa.types.is_struct(value.type.field("after").type):
        page.fail(group.rows, "not a Debezium envelope: its schema lacks the fields op and after", group.schema_id)
        return
    op, after = op_codes(value.field("op")), value.field("after")
    zeros = np.zeros(len(op), np.uint64)
    (commit, inner), bad = source_order(value.field("source")) if "source" in names else ((zeros, zeros), zeros != 0)
    commit, inner = np.where(op == READ, 0, commit), np.where(op == READ, 0, inner)
    rowless = np.isin(op, UPSERTS) & np.asarray(after.is_null())
    unknown = ~np.isin(op, (*UPSERTS, REMOVE, TRUNCATE, MESSAGE))
    bad &= op != READ
    for mask, error in (
        (unknown, "unknown op: only r, c, u, d, t and m are known"),
        (rowless & ~unknown, "an upsert without a row: after is null"),
        (bad & ~rowless & ~unknown, "the source block holds no position that can be read"),
    ):
        if mask.any():
            page.fail(group.rows[mask], error, group.schema_id)
    page.trail.commit[group.rows], page.trail.inner[group.rows] = commit, inner
    page.trail.placed[group.rows] = ~(bad | unknown | (op == MESSAGE))
    page.trail.deleted[group.rows] = op == REMOVE
    position = pack(commit, inner, page.records.offset[group.rows])
    good = ~(bad | unknown | rowless)
    page.done.filtered += int((good & (op == MESSAGE)).sum())
    _truncates(page, group, np.flatnonzero(good & (op == TRUNCATE)), position)
    rows = np.flatnonzero(good & (op != TRUNCATE) & (op != MESSAGE))
    if len(rows):
        _row_changes(page, group, value, _Rows(rows, op, position, len(rows) == len(op)))


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of a group that change a row of the table."""

    index: NDArray[np.int64]
    op: NDArray[np.uint8]
    position: pa.Array
    all: bool

    def of(self, array: pa.Array) -> pa.Array:
        return array if self.all else array.take(pa.array(self.index))


def _truncates(page: DecodeContext, group: Group, rows: NDArray[np.int64], position: pa.Array) -> None:
    if not len(rows):
        return
    if page.route.on_truncate is OnTruncate.FAIL:
        raise TruncateError(
            f"table {page.route.table}: a TRUNCATE stands at {page.records.topic}[{page.records.partition}] offset "
            f"{page.records.offset[group.rows[rows[0]]]}; say in the job file under tables what it does: "
            "on_truncate: apply (empties the table) or on_truncate: ignore"
        )
    if page.route.on_truncate is OnTruncate.IGNORE:
        page.done.filtered += len(rows)
        return
    newest = max(position[int(row)].as_py() for row in rows)
    page.done.truncates += len(rows)
    page.done.truncate = max(newest, page.done.truncate or b"")
    marks = ChangeColumns(
        op=np.full(len(rows), DELETE, np.int8),
        position=take_positions(position, rows),
        source=page.source,
        time=page.time(group.rows[rows]),
    )
    page.done.emptied.append(change_batch({}, marks))


def _row_changes(page: DecodeContext, group: Group, value: pa.StructArray, rows: _Rows) -> None:
    records = group.rows[rows.index]
    after = rows.of(value.field("after"))
    columns = {field.name: after.field(i) for i, field in enumerate(after.type)}
    refuse_own_names(page.route.table, columns)
    deletes = rows.op[rows.index] == REMOVE
    position = rows.position if rows.all else take_positions(rows.position, rows.index)
    if page.route.key is None:
        if group.key is None:
            page.fail(records, KEYLESS.format(topic=page.records.topic), group.schema_id)
            return
        key = rows.of(group.key)
        page.done.key = tuple(field.name for field in key.type)
        for name in page.done.key:
            columns[name] = fitted(key.field(name), columns.get(name))
    else:
        before = rows.of(value.field("before")) if "before" in {f.name for f in value.type} else None
        keyed = _key_of_rows(page, group, (columns, before, deletes, records, position))
        if keyed is None:
            return
        columns, deletes, records, position = keyed
    columns, unavailable = blank_unavailable(columns)
    marks = ChangeColumns(
        op=np.where(deletes, DELETE, UPSERT).astype(np.int8),
        position=position,
        source=page.source,
        unavailable=unavailable,
        moved=moved_keys(page.records, records, deletes, unavailable),
        time=page.time(records),
    )
    page.done.changes.append(change_batch(columns, marks))


KEYLESS: Final = "the message has no key: name the key columns in the job file, tables: - {{from: {topic}, key: [...]}}"
_Keyed = tuple[dict[str, pa.Array], NDArray[np.bool_], NDArray[np.int64], pa.Array]


def _key_of_rows(
    page: DecodeContext,
    group: Group,
    rows: tuple[dict[str, pa.Array], pa.StructArray | None, NDArray[np.bool_], NDArray[np.int64], pa.Array],
) -> _Keyed | None:
    """The columns with the route's key in place: from `after`, for deletes from `before`.

    Rows without a full key become dead letters; where an update's key differs from its `before`, the delete of
    the old key is added as a batch of its own that is not accounted.
    """
    columns, before, deletes, records, position = rows
    key = page.route.key or ()
    missing = [name for name in key if name not in columns]
    if missing:
        page.fail(records, f"no column {', '.join(missing)}, which the job file names as key", group.schema_id)
        return None
    olds: dict[str, pa.Array] = {}
    for name in key:
        olds[name] = pa.nulls(len(deletes), columns[name].type)
        if before is not None and before.type.get_field_index(name) >= 0:
            olds[name] = before.field(name)
        columns[name] = pc.if_else(pa.array(deletes), olds[name], columns[name])
    whole = np.logical_and.reduce([np.asarray(columns[name].is_valid()) for name in key])
    if not whole.all():
        page.fail(records[~whole], f"no value for the key ({', '.join(key)})", group.schema_id)
    old_whole = np.logical_and.reduce([np.asarray(olds[name].is_valid()) for name in key])
    differs = np.logical_or.reduce(
        [np.asarray(pc.not_equal(olds[name], columns[name]).fill_null(False)) for name in key]
    )
    left = np.flatnonzero(whole & ~deletes & old_whole & differs)
    if len(left):
        old = {name: olds[name].take(pa.array(left)) for name in key}
        op = np.full(len(left), DELETE, np.int8)
        marks = ChangeColumns(op=op, position=take_positions(position, left), source=-1, time=page.time(records[left]))
        page.done.changes.append(change_batch(old, marks))
    kept = np.flatnonzero(whole)
    columns = {name: array.take(pa.array(kept)) for name, array in columns.items()}
    return columns, deletes[kept], records[kept], take_positions(position, kept)


def _tombstones(page: DecodeContext, group: Group) -> None:
    lone = lone_tombstones(page.records, group.rows, page.trail)
    page.done.filtered += int((~lone).sum())
    rows = np.flatnonzero(lone)
    if not len(rows):
        return
    names = () if group.key is None else tuple(field.name for field in group.key.type)
    key = page.route.key or names
    if group.key is None or not key or not set(key) <= set(names):
        page.fail(group.rows[rows], "a tombstone without the key of the row that it deletes", group.schema_id)
        return
    page.done.key = key
    commit, inner = tombstone_order(group.rows[rows], page.trail)
    columns = {name: group.key.field(name).take(pa.array(rows)) for name in key}
    position = pack(commit, inner, page.records.offset[group.rows[rows]])
    op, time = np.full(len(rows), DELETE, np.int8), page.time(group.rows[rows])
    marks = ChangeColumns(op=op, position=position, source=page.source, time=time)
    page.done.changes.append(change_batch(columns, marks))


def op_codes(op: pa.Array) -> NDArray[np.uint8]:
    """The byte of each one-letter `op`; 0 for anything else."""
    offsets = np.frombuffer(op.buffers()[1], np.int32, len(op) + 1, op.offset * 4)
    single = (np.diff(offsets) == 1) & np.asarray(op.is_valid())
    codes = np.zeros(len(op), np.uint8)
    if single.any():
        codes[single] = np.frombuffer(op.buffers()[2], np.uint8)[offsets[:-1][single]]
    return codes
