"""Canal's flat messages to changes: `data` are the rows of one statement, `old` what it changed of each, as texts.

A message holds no position, so the offset is the order, and inside a message the order of its rows.
Format: https://github.com/alibaba/canal, `FlatMessage`
"""

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..errors import SchemaError
from ..model.declared_type import INT64, STRING, STRUCT, DeclaredType
from ..model.route import Route
from .envelope import DELETE, NOTHING, TRUNCATE, UPSERT, Envelope, Events
from .fields import field_of, kinds_of, number_of, same_names, text_of
from .old_keys import UNFIT, keys_before, without_deleted
from .one_table import OneTable
from .row_lists import RowEvents, lengths_of, lists_of
from .source_tables import full_names, selected

KINDS: Final = pa.array(
    ["INSERT", "UPDATE", "DELETE", "TRUNCATE", "CREATE", "ALTER", "ERASE", "QUERY", "RENAME", "CINDEX", "DINDEX"]
)
UNKNOWN: Final = -1
# By the number of the kind; the last is that of -1.
WHAT: Final = np.array([UPSERT, UPSERT, DELETE, TRUNCATE, *(NOTHING,) * (len(KINDS) - 4), UNKNOWN], np.int8)
NAMES: Final = DeclaredType("list", item=STRING)
FIELDS: Final = {
    **dict.fromkeys(("database", "table", "type"), STRING),
    "isDdl": DeclaredType("bool"),
    "es": INT64,
    "pkNames": NAMES,
}
ROWS: Final = ("data", "old")
TABLE: Final = frozenset({("database",), ("table",)})
OTHER_KEY: Final = "pkNames names no key, or another than the message before: name the key in the job file"


class CanalEnvelope(Envelope):
    """The key's columns are those of `pkNames`, or the route's."""

    reads_keys = False

    def __init__(self, options: OneTable) -> None:
        self._only = options.only
        self.chosen_by = TABLE if options.only is not None else frozenset()

    def chosen(self, value: pa.StructArray) -> NDArray[np.bool_]:
        return selected(self._only, _tables(value))

    def keep(self, path: tuple[str, ...], route: Route) -> bool:
        if path[0] == "old" and len(path) > 2:
            return route.key is None or path[2] in route.key
        return path[0] in FIELDS or path[0] in ROWS

    def column(self, path: tuple[str, ...]) -> str | None:
        return path[2] if len(path) == 3 and path[0] in ROWS else None

    def declared(self, path: tuple[str, ...], route: Route) -> DeclaredType | None:
        if path in (("data", "[]"), ("old", "[]")):
            return STRUCT
        return FIELDS.get(path[0]) if len(path) == 1 else super().declared(path, route)

    def events(self, value: pa.StructArray, route: Route) -> Events:
        if value.type.get_field_index("type") < 0:
            raise SchemaError("no message of Canal: it lacks the field type")
        kinds = kinds_of(text_of(value, "type"), KINDS)
        ddl = np.asarray(field_of(value, "isDdl", pa.bool_()).fill_null(False))
        said = WHAT[kinds]
        said = np.where(ddl & (said != TRUNCATE), NOTHING, said).astype(np.int8)
        of_rows = (said == UPSERT) | (said == DELETE)
        key, others = same_names(field_of(value, "pkNames", pa.list_(pa.string())), of_rows)
        data, old, tables = lists_of(value, "data"), lists_of(value, "old"), _tables(value)
        lengths, olds = np.where(of_rows, lengths_of(data), 0), np.where(kinds == 1, lengths_of(old), 0)
        others &= route.key is None
        nameless, uneven = of_rows & np.asarray(tables.is_null()), (olds > 0) & (olds != lengths)
        events = RowEvents.of(np.where(others | nameless | uneven, 0, lengths))
        at = events.of_value
        row, what, rows = events.rows(data), said[at], of_rows[at]
        earlier = events.rows(old)
        before, unfit = keys_before(route.key or key or (), row, earlier)
        return Events(
            what=what,
            row=without_deleted(row, what == DELETE),
            before=before,
            time=np.where(rows, number_of(value, "es")[at], -1),
            key=key,
            of_value=at,
            tables=None if self._only is not None else pc.if_else(pa.array(of_rows), tables, None).take(pa.array(at)),
            wrong=(
                (what == UNKNOWN, "unknown type: neither a change of rows nor a statement that Canal tells of"),
                (nameless[at], "a change without the names of its database and table"),
                (others[at], OTHER_KEY),
                (uneven[at], "old has another number of rows than data"),
                (rows & np.asarray(row.is_null()), "a change without a row: data is null, empty, or has a null in it"),
                (rows & unfit, UNFIT),
            ),
        )


def _tables(value: pa.StructArray) -> pa.StringArray:
    return full_names(text_of(value, "database"), text_of(value, "table"))
