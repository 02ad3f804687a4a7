"""Messages of AWS DMS, for the proof only: https://docs.aws.amazon.com/dms/latest/userguide/CHAP_Target.Kafka.html"""

from collections.abc import Mapping, Sequence
from typing import Any

from ..avro_validator import Malformed
from ..row_change import RowChange
from .json_fields import members, text


class DmsMessages:
    """Keeps the contract of `JsonMessageReader`."""

    def __init__(self, before_image: str) -> None:
        self._image = before_image

    def changes(self, value: Mapping[str, Any]) -> Sequence[RowChange]:
        about, row, image = members(value, "metadata"), members(value, "data"), members(value, self._image)
        if about is None:
            raise Malformed("no metadata")
        operation, schema, table = (text(about, name) for name in ("operation", "schema-name", "table-name"))
        named = "" if schema is None or table is None else f"{schema}.{table}"
        if text(about, "record-type") == "control":
            return [RowChange({}, truncates=True, table=named)] if operation == "truncate-table" else []
        if operation not in ("load", "insert", "update", "delete") or row is None or not named:
            raise Malformed(f"operation {operation!r} without a row, a table or a meaning")
        told = {name: part for name, part in (image or {}).items() if part is not None}
        return [RowChange(row, operation == "delete", before={**row, **told}, table=named)]
