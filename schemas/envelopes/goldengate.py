"""Oracle GoldenGate's JSON to changes: `before` and `after` are the row, `op_type` what happened.

Position: `pos`, the number of the trail's file and the place in it. Without it the place in the log is the order.
An update may lack columns that it did not change. Format: https://docs.oracle.com/en/middleware/goldengate/big-data/
"""

from typing import Final

import numba
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..errors import SchemaError
from ..loops import compile_ahead
from ..model.absent_fields import without_absent
from ..model.declared_type import STRING, STRUCT, DeclaredType
from ..model.route import Route
from .envelope import DELETE, TRUNCATE, UPSERT, Envelope, Events
from .fields import field_of, kinds_of, same_names, struct_of, text_of
from .old_keys import UNFIT, keys_before
from .one_table import OneTable
from .source_tables import selected
from .texts import TEXTS, text_parts

UPDATE: Final = 1
KINDS: Final = pa.array(["I", "U", "D", "T"])
UNKNOWN: Final = -1
WHAT: Final = np.array([UPSERT, UPSERT, DELETE, TRUNCATE, UNKNOWN], np.int8)
FIELDS: Final = {
    **dict.fromkeys(("table", "op_type", "op_ts", "pos"), STRING),
    "primary_keys": DeclaredType("list", item=STRING),
}
ROWS: Final = ("before", "after")
AFTER: Final = frozenset({("after",)})
TABLE: Final = frozenset({("table",)})
OTHER_KEY: Final = "primary_keys names no key, or another than the message before: name the key in the job file"
NOT_WHOLE: Final = (
    "an update that changes the key and lacks columns of the row: let the trail hold whole rows (LOGALLSUPCOLS, "
    "UPDATERECORDFORMAT FULL or NOCOMPRESSUPDATES)"
)


class GoldenGateEnvelope(Envelope):
    """The key's columns are those of `primary_keys` (`includePrimaryKeys`), or the route's."""

    reads_keys = False
    partial = AFTER

    def __init__(self, options: OneTable) -> None:
        self._only = options.only
        self.chosen_by = TABLE if options.only is not None else frozenset()

    def chosen(self, value: pa.StructArray) -> NDArray[np.bool_]:
        return selected(self._only, text_of(value, "table"))

    def keep(self, path: tuple[str, ...], route: Route) -> bool:
        if path[0] == "before" and len(path) > 1:
            return route.key is None or path[1] in route.key
        return path[0] in FIELDS or path[0] in ROWS

    def column(self, path: tuple[str, ...]) -> str | None:
        return path[1] if len(path) == 2 and path[0] in ROWS else None

    def declared(self, path: tuple[str, ...], route: Route) -> DeclaredType | None:
        if path in (("before",), ("after",)):
            return STRUCT
        return FIELDS.get(path[0]) if len(path) == 1 else super().declared(path, route)

    def events(self, value: pa.StructArray, route: Route) -> Events:
        if value.type.get_field_index("op_type") < 0:
            raise SchemaError("no message of GoldenGate: it lacks the field op_type")
        kinds, tables = kinds_of(text_of(value, "op_type"), KINDS), text_of(value, "table")
        what = WHAT[kinds]
        rows = (what == UPSERT) | (what == DELETE)
        key, others = same_names(field_of(value, "primary_keys", pa.list_(pa.string())), rows)
        row, lacking = without_absent(struct_of(value, "after"))
        old = struct_of(value, "before")
        names = route.key or key or ()
        before, unfit = keys_before(names, row, old)
        absent = {name: lacks & (kinds == UPDATE) for name, lacks in lacking.items() if name not in names}
        absent = {name: lacks for name, lacks in absent.items() if lacks.any()}
        moved = _differs(before, row) & np.logical_or.reduce([*absent.values(), np.zeros(len(value), np.bool_)])
        file, place, unread = _places(*text_parts(text_of(value, "pos")))
        placed = np.asarray(text_of(value, "pos").is_valid())
        by_log = rows & ~placed
        sent = np.where(what == DELETE, old.is_valid(), row.is_valid())
        return Events(
            what=what,
            row=row,
            before=before,
            order=(file, place),
            placed=placed & rows & ~unread,
            snapshot=by_log if by_log.any() else None,
            time=_milliseconds(text_of(value, "op_ts")),
            key=key,
            absent=absent,
            tables=None if self._only is not None else pc.if_else(pa.array(rows), tables, None),
            wrong=(
                (what == UNKNOWN, "unknown op_type: only I, U, D and T are known"),
                (rows & ~sent, "a change without a row: after, or of a delete before, is null"),
                (rows & np.asarray(tables.is_null()), "a change without the name of its table"),
                (rows & others & (route.key is None), OTHER_KEY),
                (rows & unfit, UNFIT),
                (moved, NOT_WHOLE),
                (unread, "pos is no position: it has other letters than 11 to 29 digits"),
            ),
        )


def _differs(before: pa.StructArray, row: pa.StructArray) -> NDArray[np.bool_]:
    """Where a column of the key is another before."""
    found = np.zeros(len(row), np.bool_)
    for field in before.type:
        other = pc.not_equal(pc.struct_field(before, field.name), pc.struct_field(row, field.name))
        found |= np.asarray(other.fill_null(False))
    return found


def _milliseconds(texts: pa.StringArray) -> NDArray[np.int64] | None:
    """The source's clock; None where a text is none."""
    try:
        micros = np.asarray(texts.cast(pa.timestamp("us")).cast(pa.int64()).fill_null(-1))
    except pa.ArrowInvalid:
        return None
    return np.where(micros < 0, -1, micros // 1000)


@compile_ahead(TEXTS)
@numba.njit(cache=True, nogil=True)
def _places(data, offsets, valid):  # type: ignore[no-untyped-def]
    """The number of a trail's file, all digits but the last ten, and the place in it; and what is neither."""
    n = len(offsets) - 1
    file, place, bad = np.zeros(n, np.uint64), np.zeros(n, np.uint64), np.zeros(n, np.bool_)
    for i in range(n):
        if not valid[i]:
            continue
        bad[i] = not 11 <= offsets[i + 1] - offsets[i] <= 29
        for p in range(offsets[i], offsets[i + 1]):
            if bad[i] or not 48 <= data[p] <= 57:
                bad[i] = True
                break
            digit = np.uint64(data[p] - 48)
            if p < offsets[i + 1] - 10:
                file[i] = file[i] * np.uint64(10) + digit
            else:
                place[i] = place[i] * np.uint64(10) + digit
    return file, place, bad
