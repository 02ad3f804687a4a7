"""Documents of MongoDB, as Debezium's connector sends them: `after` is the whole document, as the text of its JSON.

Position: the operation's time in the oplog, a logical clock: `source.ts_ms` in whole seconds, and `source.ord`.
Format: https://debezium.io/documentation/reference/stable/connectors/mongodb.html
"""

from collections.abc import Set
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...errors import SchemaError, TableError
from ...model.declared_type import INT64, STRING, STRUCT, DeclaredType
from ...model.position import Numbers
from ...model.route import Route
from ..envelope import NOTHING, TRUNCATE, UPSERT, Envelope, Events
from .envelope import READ, UNKNOWN, WHAT, connector_of, number_of, op_codes, snapshot_marks
from .options import DebeziumOptions
from .other_topics import other_messages

DOCUMENT: Final = "document"
SOURCE: Final = frozenset({"name", "ts_ms", "ord", "snapshot"})
OF_OWN_KEY: Final = (
    "table {table}: key: [{key}] in the job file: documents have the key of their messages, id; leave it out"
)
NO_DOCUMENT: Final = (
    "a change without its document: after is null; let the connector send whole ones (capture.mode: "
    "change_streams_update_full). One that was deleted before it was looked up has none: its delete follows"
)


class DocumentEnvelope(Envelope):
    """A row is the message's key, `id`, and the column `document`."""

    def __init__(self, options: DebeziumOptions) -> None:
        """None of them is about documents."""

    def keep(self, path: tuple[str, ...], route: Route) -> bool:
        return path[0] in ("after", "op") or (path[0] == "source" and (len(path) == 1 or path[1] in SOURCE))

    def column(self, path: tuple[str, ...]) -> str | None:
        return DOCUMENT if path == ("after",) else None

    def declared(self, path: tuple[str, ...], route: Route) -> DeclaredType | None:
        if path == ("source",):
            return STRUCT
        if path in (("after",), ("op",), ("source", "name")):
            return STRING
        return INT64 if path in (("source", "ts_ms"), ("source", "ord")) else None

    def other_messages(self, fields: Set[str]) -> str:
        return other_messages(fields)

    def events(self, value: pa.StructArray, route: Route) -> Events:
        if route.key is not None:
            raise TableError(OF_OWN_KEY.format(table=route.table, key=", ".join(route.key)))
        names = {field.name for field in value.type}
        if not {"op", "after", "source"} <= names or not pa.types.is_string(value.type.field("op").type):
            raise SchemaError("no document of Debezium's connector for MongoDB: it lacks op, after or source")
        after, source = value.field("after"), value.field("source")
        if pa.types.is_null(after.type):
            after = pa.nulls(len(value), pa.string())
        if not pa.types.is_string(after.type) or not pa.types.is_struct(source.type):
            raise SchemaError("no document of Debezium's connector for MongoDB: after is no text, or source no record")
        op = op_codes(value.field("op"))
        what, snapshot = WHAT[op], op == READ
        order, placed = _order(source)
        streamed = (what != UNKNOWN) & (what != NOTHING) & (what != TRUNCATE)
        by_log = streamed & (snapshot | ~placed)
        return Events(
            what=what,
            row=pa.StructArray.from_arrays([after], [DOCUMENT]),
            order=order,
            placed=streamed & ~by_log,
            snapshot=by_log if by_log.any() else None,
            marks=snapshot_marks(source, snapshot) if snapshot.any() else None,
            time=number_of(source, "ts_ms"),
            connector=connector_of(source),
            wrong=(
                (what == UNKNOWN, "unknown op: only r, c, u, d, t and m are known"),
                ((what == UPSERT) & np.asarray(after.is_null()), NO_DOCUMENT),
            ),
        )


def _order(source: pa.StructArray) -> tuple[Numbers, NDArray[np.bool_]]:
    """Seconds and the number inside them as one number, and which changes have both."""
    zeros = np.zeros(len(source), np.uint64)
    times, numbers = number_of(source, "ts_ms"), number_of(source, "ord")
    if times is None or numbers is None:
        return (zeros, zeros), np.zeros(len(source), np.bool_)
    known = (times >= 0) & (numbers >= 0) & (times < 1000 << 32) & (numbers < 1 << 32)
    seconds = np.where(known, times // 1000, 0).astype(np.uint64)
    commit = (seconds << np.uint64(32)) | np.where(known, numbers, 0).astype(np.uint64)
    return (commit, zeros), known & (commit > 0)
