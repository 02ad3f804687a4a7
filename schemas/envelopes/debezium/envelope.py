"""Debezium envelopes to changes: r c u d t m, tombstones, unavailable values, key changes.

Positions as in `schemas.model.position`; where a snapshot row (`r`) stands, its place in the log tells
(`schemas.merging.log_order`). Format: https://debezium.io/documentation/reference/stable/connectors/postgresql.html
"""

from collections.abc import Set
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ...errors import SchemaError
from ...model.declared_type import STRING, STRUCT, DeclaredType
from ...model.message_batch import MessageBatch
from ...model.route import OnSnapshot, Route
from ...model.snapshot_marks import BEGINS, ENDS, ROWS
from ..envelope import DELETE, NOTHING, TRUNCATE, UPSERT, Envelope, Events
from .moved_keys import moved_keys
from .options import DebeziumOptions
from .other_topics import other_messages
from .placeholders import Placeholders
from .source_position import SOURCE_FIELDS, SOURCE_TYPES, TABLE_FIELDS, bears_order, source_order

READ, CREATE, UPDATE, REMOVE, EMPTY, MESSAGE = (ord(op) for op in "rcudtm")
UNKNOWN: Final = -1
# By the byte of `op`: what the message says.
WHAT: Final = np.full(256, UNKNOWN, np.int8)
WHAT[[READ, CREATE, UPDATE]] = UPSERT
WHAT[REMOVE], WHAT[EMPTY], WHAT[MESSAGE] = DELETE, TRUNCATE, NOTHING
MARKS: Final = {
    BEGINS: pa.array(["first", "first_in_data_collection"]),
    ENDS: pa.array(["last", "last_in_data_collection"]),
    ROWS: pa.array(["true"]),
}
"""`source.snapshot` of the rows of a whole snapshot: the first ones of a table, the last ones, and those between."""


class DebeziumEnvelope(Envelope):
    """The row is `after`; for deletes of tables whose key the job names, the key is in `before`."""

    def __init__(self, options: DebeziumOptions) -> None:
        self._placeholders = Placeholders(options.unavailable_value)

    def keep(self, path: tuple[str, ...], route: Route) -> bool:
        if path[0] == "source":
            tables = TABLE_FIELDS if route.on_snapshot is OnSnapshot.REPLACE else ()
            return len(path) == 1 or path[1] in SOURCE_FIELDS or path[1] in tables
        if path[0] == "before":
            return route.key is not None and (len(path) == 1 or path[1] in route.key)
        return path[0] in ("after", "op")

    def column(self, path: tuple[str, ...]) -> str | None:
        return path[1] if len(path) == 2 and path[0] in ("before", "after") else None

    def declared(self, path: tuple[str, ...], route: Route) -> DeclaredType | None:
        if path in (("before",), ("after",), ("source",)):
            return STRUCT
        if path == ("op",):
            return STRING
        return SOURCE_TYPES.get(path[1]) if path[0] == "source" else super().declared(path, route)

    def other_messages(self, fields: Set[str]) -> str:
        return other_messages(fields)

    def events(self, value: pa.StructArray, route: Route) -> Events:
        names = {field.name for field in value.type}
        if not {"op", "after"} <= names or not pa.types.is_struct(value.type.field("after").type):
            raise SchemaError("not a Debezium envelope: its schema lacks the fields op and after")
        if not pa.types.is_string(value.type.field("op").type):
            raise SchemaError("not a Debezium envelope: its op is no text")
        op, after = op_codes(value.field("op")), value.field("after")
        what, snapshot = WHAT[op], op == READ
        by_log = snapshot.copy()
        commit = inner = np.zeros(len(op), np.uint64)
        unread = np.zeros(len(op), np.bool_)
        source = value.field("source") if "source" in names else None
        if source is not None:
            (commit, inner), unread = source_order(source)
            unread &= ~snapshot
            if bears_order(value.type.field("source").type):
                # Where the source block of a streamed change has NULL for its position, its place in the log tells too.
                by_log |= (commit == 0) & (inner == 0) & ~unread & (what != TRUNCATE)
        return Events(
            what=what,
            row=after,
            before=value.field("before") if "before" in names else None,
            order=(commit, inner),
            placed=~(unread | by_log | (what == UNKNOWN) | (what == NOTHING)),
            snapshot=by_log if by_log.any() else None,
            copied=snapshot if snapshot.any() else None,
            marks=snapshot_marks(source, snapshot) if snapshot.any() else None,
            time=number_of(source, "ts_ms"),
            server=number_of(source, "server_id"),
            connector=connector_of(source),
            source_tables=_tables(source) if route.on_snapshot is OnSnapshot.REPLACE else None,
            one_log=source is not None and bears_order(source.type),
            rewrites=None if route.key is None else op == UPDATE,
            wrong=(
                (what == UNKNOWN, "unknown op: only r, c, u, d, t and m are known"),
                ((what == UPSERT) & np.asarray(after.is_null()), "an upsert without a row: after is null"),
                (unread, "the source block holds no position that can be read"),
            ),
        )

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


def snapshot_marks(source: pa.StructArray | None, snapshot: NDArray[np.bool_]) -> NDArray[np.int8] | None:
    """BEGINS, ENDS or ROWS by row, 0 for the others; None where there is none of them."""
    texts = _field(source, "snapshot")
    if texts is None or not pa.types.is_string(texts.type):
        return None
    marks = np.zeros(len(texts), np.int8)
    for kind, words in MARKS.items():
        marks[np.asarray(pc.is_in(texts, words)) & snapshot] = kind
    return marks if marks.any() else None


def number_of(source: pa.StructArray | None, name: str) -> NDArray[np.int64] | None:
    """A whole number of the `source` block, -1 where it is null; None where there is none."""
    numbers = _field(source, name)
    if numbers is None or not pa.types.is_integer(numbers.type):
        return None
    return np.asarray(numbers.cast(pa.int64()).fill_null(-1))


def connector_of(source: pa.StructArray | None) -> pa.DictionaryArray | None:
    """The connector's name, which the `source` block bears; None where it bears no text."""
    names = _field(source, "name")
    if names is None or not pa.types.is_string(names.type):
        return None
    # Nearly always there is one, and to compare is three times as fast as to encode.
    if len(names) and pc.all(pc.equal(names, names[0]), skip_nulls=False).as_py():
        return pa.DictionaryArray.from_arrays(np.zeros(len(names), np.int32), names[:1])
    return names.dictionary_encode()


def _tables(source: pa.StructArray | None) -> pa.DictionaryArray | None:
    """The source's table of each change, with its schema and database."""
    found = [part for name in TABLE_FIELDS if (part := _field(source, name)) is not None]
    texts = [part.fill_null("") for part in found if pa.types.is_string(part.type)]
    return pc.binary_join_element_wise(*texts, ".").dictionary_encode() if texts else None


def _field(source: pa.StructArray | None, name: str) -> pa.Array | None:
    if source is None or not pa.types.is_struct(source.type) or source.type.get_field_index(name) < 0:
        return None
    return source.field(name)


def op_codes(op: pa.Array) -> NDArray[np.uint8]:
    """The byte of each one-letter `op`; 0 for anything else."""
    offsets = np.frombuffer(op.buffers()[1], np.int32, len(op) + 1, op.offset * 4)
    single = (np.diff(offsets) == 1) & np.asarray(op.is_valid())
    codes = np.zeros(len(op), np.uint8)
    if single.any():
        codes[single] = np.frombuffer(op.buffers()[2], np.uint8)[offsets[:-1][single]]
    return codes
