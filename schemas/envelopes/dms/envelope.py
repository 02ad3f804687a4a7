"""Messages of AWS DMS to changes: `data` is the row, `metadata` says what happened, `before-image` what the row was.

DMS documents no order of its `stream-position`, and its times and transactions are none: the offset is the order.
Format: https://docs.aws.amazon.com/dms/latest/userguide/CHAP_Target.Kafka.html
"""

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ...errors import SchemaError
from ...model.declared_type import STRING, STRUCT, DeclaredType
from ...model.route import Route
from ..envelope import DELETE, NOTHING, TRUNCATE, UPSERT, Envelope, Events
from ..fields import kinds_of, struct_of, text_of
from ..old_keys import UNFIT, keys_before, without_deleted
from ..source_tables import full_names, selected
from .options import DmsOptions

UPDATE: Final = 2
KINDS: Final = pa.array(["load", "insert", "update", "delete"])
TRUNCATES: Final = "truncate-table"
UNKNOWN: Final = -1
WHAT: Final = np.array([UPSERT, UPSERT, UPSERT, DELETE, UNKNOWN], np.int8)
METADATA: Final = frozenset({"record-type", "operation", "schema-name", "table-name"})
TABLE: Final = frozenset({("metadata", "schema-name"), ("metadata", "table-name")})


class DmsEnvelope(Envelope):
    """The key's columns are the route's: no message of a row names them."""

    reads_keys = False
    before_advice = (
        "Let the task send what was there before (BeforeImageSettings, EnableBeforeImage: true), or say that keys "
        "never change at the source: keys_change: false under format"
    )

    def __init__(self, options: DmsOptions) -> None:
        self._only, self._image, self._keys_change = options.only, options.before_image, options.keys_change
        self.chosen_by = TABLE if options.only is not None else frozenset()

    def chosen(self, value: pa.StructArray) -> NDArray[np.bool_]:
        return selected(self._only, _tables(struct_of(value, "metadata")))

    def keep(self, path: tuple[str, ...], route: Route) -> bool:
        if path[0] == "metadata":
            return len(path) == 1 or path[1] in METADATA
        if path[0] == self._image:
            return len(path) == 1 or route.key is None or path[1] in route.key
        return path[0] == "data"

    def column(self, path: tuple[str, ...]) -> str | None:
        return path[1] if len(path) == 2 and path[0] in ("data", self._image) else None

    def declared(self, path: tuple[str, ...], route: Route) -> DeclaredType | None:
        if path in (("data",), ("metadata",), (self._image,)):
            return STRUCT
        return STRING if path[0] == "metadata" and path[1] in METADATA else super().declared(path, route)

    def events(self, value: pa.StructArray, route: Route) -> Events:
        if value.type.get_field_index("metadata") < 0:
            raise SchemaError("no message of AWS DMS: it lacks the field metadata")
        metadata, row, image = struct_of(value, "metadata"), struct_of(value, "data"), struct_of(value, self._image)
        operation = text_of(metadata, "operation")
        kinds = kinds_of(operation, KINDS)
        control = np.asarray(pc.equal(text_of(metadata, "record-type"), "control").fill_null(False))
        truncates = control & np.asarray(pc.equal(operation, TRUNCATES).fill_null(False))
        what = np.where(truncates, TRUNCATE, np.where(control, NOTHING, WHAT[kinds])).astype(np.int8)
        rows, tables = (what == UPSERT) | (what == DELETE), _tables(metadata)
        before, unfit = keys_before(route.key or (), row, image)
        lacking = rows & (kinds == UPDATE) & np.asarray(image.is_null()) & self._keys_change
        if lacking.any():
            before = pc.if_else(pa.array(lacking), pa.scalar(None, before.type), before)
        return Events(
            what=what,
            row=without_deleted(row, what == DELETE),
            before=before,
            rewrites=lacking if lacking.any() else None,
            tables=None if self._only is not None else pc.if_else(pa.array(rows), tables, None),
            wrong=(
                (what == UNKNOWN, "unknown operation: only load, insert, update and delete are known"),
                (rows & np.asarray(row.is_null()), "a change without a row: data is null"),
                (rows & np.asarray(tables.is_null()), "a change without the names of its schema and table"),
                (rows & unfit, UNFIT),
            ),
        )


def _tables(metadata: pa.StructArray) -> pa.StringArray:
    return full_names(text_of(metadata, "schema-name"), text_of(metadata, "table-name"))
