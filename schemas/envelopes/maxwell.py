"""Maxwell's messages to changes: `data` is the row, `old` what an update changed of it, `type` what happened.

Position: the binlog's file and place (`output_binlog_position`), inside it the row's number in its transaction
(`output_xoffset`), which the last row of a transaction lacks. Without it the place in the log is the order.
Format: https://maxwells-daemon.io/dataformat/
"""

from typing import Final

import numba
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..errors import SchemaError
from ..loops import compile_ahead
from ..model.declared_type import INT64, STRING, STRUCT, DeclaredType
from ..model.position import Numbers
from ..model.route import Route
from .envelope import DELETE, NOTHING, UPSERT, Envelope, Events
from .fields import field_of, kinds_of, number_of, same_names, struct_of, text_of
from .old_keys import UNFIT, keys_before, without_deleted
from .one_table import OneTable
from .source_tables import full_names, selected
from .texts import TEXTS, text_parts

BOOTSTRAP: Final = 3
KINDS: Final = pa.array(
    ["insert", "update", "delete", "bootstrap-insert", "bootstrap-start", "bootstrap-complete", "heartbeat"]
    + [f"{thing}-{done}" for thing in ("table", "database") for done in ("create", "alter", "drop")]
)
UNKNOWN: Final = -1
# By the number of the kind; the last is that of -1.
WHAT: Final = np.array([UPSERT, UPSERT, DELETE, UPSERT, *(NOTHING,) * (len(KINDS) - 4), UNKNOWN], np.int8)
NAMES: Final = DeclaredType("list", item=STRING)
FIELDS: Final = {
    **dict.fromkeys(("database", "table", "type", "position"), STRING),
    **dict.fromkeys(("ts", "xoffset", "server_id"), INT64),
    "primary_key_columns": NAMES,
}
TABLE: Final = frozenset({("database",), ("table",)})
OTHER_KEY: Final = "primary_key_columns names no key, or another than the message before: name it in the job file"
LATEST: Final = 1 << 52
"""Seconds; what is beyond counts as this."""
LAST: Final = (1 << 24) - 1
"""The number of a transaction's last row, which does not tell it."""


class MaxwellEnvelope(Envelope):
    """The key's columns are those of `primary_key_columns` (`output_primary_key_columns`), or the route's."""

    reads_keys = False

    def __init__(self, options: OneTable) -> None:
        self._only = options.only
        self.chosen_by = TABLE if options.only is not None else frozenset()

    def chosen(self, value: pa.StructArray) -> NDArray[np.bool_]:
        return selected(self._only, _tables(value))

    def keep(self, path: tuple[str, ...], route: Route) -> bool:
        if path[0] == "old" and len(path) > 1:
            return route.key is None or path[1] in route.key
        return path[0] in FIELDS or path[0] in ("data", "old")

    def column(self, path: tuple[str, ...]) -> str | None:
        return path[1] if len(path) == 2 and path[0] in ("data", "old") else None

    def declared(self, path: tuple[str, ...], route: Route) -> DeclaredType | None:
        if path in (("data",), ("old",)):
            return STRUCT
        return FIELDS.get(path[0]) if len(path) == 1 else super().declared(path, route)

    def events(self, value: pa.StructArray, route: Route) -> Events:
        if value.type.get_field_index("type") < 0:
            raise SchemaError("no message of Maxwell: it lacks the field type")
        kinds = kinds_of(text_of(value, "type"), KINDS)
        what = WHAT[kinds]
        rows, row = (what == UPSERT) | (what == DELETE), struct_of(value, "data")
        key, others = same_names(field_of(value, "primary_key_columns", pa.list_(pa.string())), rows)
        before, unfit = keys_before(route.key or key or (), row, struct_of(value, "old"))
        order, placed, unread = _order(value)
        tables = _tables(value)
        seconds, server = number_of(value, "ts"), number_of(value, "server_id")
        copied = rows & ((kinds == BOOTSTRAP) | ~placed)
        return Events(
            what=what,
            row=without_deleted(row, what == DELETE),
            before=before,
            order=order,
            placed=placed & ~copied & rows & ~unread,
            snapshot=copied if copied.any() else None,
            time=np.where(rows & (seconds >= 0), np.minimum(seconds, LATEST) * 1000, -1),
            server=server,
            key=key,
            tables=None if self._only is not None else pc.if_else(pa.array(rows), tables, None),
            wrong=(
                (what == UNKNOWN, "unknown type: neither a change of a row nor a statement that Maxwell tells of"),
                (rows & np.asarray(row.is_null()), "a change without a row: data is null"),
                (rows & np.asarray(tables.is_null()), "a change without the names of its database and table"),
                (rows & others & (route.key is None), OTHER_KEY),
                (rows & unfit, UNFIT),
                (rows & unread & ~copied, "the position is none that can be read: not FILE.NUMBER:PLACE"),
            ),
        )


def _tables(value: pa.StructArray) -> pa.StringArray:
    return full_names(text_of(value, "database"), text_of(value, "table"))


def _order(value: pa.StructArray) -> tuple[Numbers, NDArray[np.bool_], NDArray[np.bool_]]:
    """(file, place and row), which values have a position, and whose cannot be read."""
    data, offsets, valid = text_parts(text_of(value, "position"))
    file, place, bad = _places(data, offsets, valid)
    row = number_of(value, "xoffset")
    row = np.where(row < 0, LAST, row)
    bad |= valid & (row > LAST)
    return (file, (place << np.uint64(24)) | row.astype(np.uint64)), valid, bad


@compile_ahead(TEXTS)
@numba.njit(cache=True, nogil=True)
def _places(data, offsets, valid):  # type: ignore[no-untyped-def]
    """`FILE.NUMBER:PLACE` of each text: the number, the place, and whether the text is another."""
    n = len(offsets) - 1
    file, place, bad = np.zeros(n, np.uint64), np.zeros(n, np.uint64), np.zeros(n, np.bool_)
    for i in range(n):
        if not valid[i]:
            continue
        at, colon = offsets[i + 1], -1
        while at > offsets[i] and (48 <= data[at - 1] <= 57 or (colon < 0 and data[at - 1] == 58)):
            at -= 1
            if data[at] == 58:
                colon = at
        digits, places = colon - at, offsets[i + 1] - colon - 1
        if colon < 0 or not 0 < digits <= 19 or not 0 < places <= 12:
            bad[i] = True
            continue
        for p in range(at, colon):
            file[i] = file[i] * np.uint64(10) + np.uint64(data[p] - 48)
        for p in range(colon + 1, offsets[i + 1]):
            place[i] = place[i] * np.uint64(10) + np.uint64(data[p] - 48)
        bad[i] = place[i] >= np.uint64(1 << 40)
    return file, place, bad
