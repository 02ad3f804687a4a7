"""Maxwell's messages, for the proof only: https://maxwells-daemon.io/dataformat/"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..avro_validator import Malformed
from ..row_change import RowChange
from .json_fields import members, names, number, text

PLACE: Final = re.compile(r"(?:.*\D)?(\d{1,19}):(\d{1,12})", re.ASCII | re.DOTALL)
NO_ROWS: Final = re.compile("bootstrap-(start|complete)|heartbeat|(table|database)-(create|alter|drop)")
BEYOND: Final = 16_777_215
"""A transaction's last row does not tell its number: it stands behind all others."""


class MaxwellMessages:
    """Keeps the contract of `JsonMessageReader`."""

    def changes(self, value: Mapping[str, Any]) -> Sequence[RowChange]:
        kind, place = text(value, "type") or "", text(value, "position")
        offset, database, table = number(value, "xoffset"), text(value, "database"), text(value, "table")
        row, old, key = members(value, "data"), members(value, "old"), names(value, "primary_key_columns")
        if NO_ROWS.fullmatch(kind):
            return []
        if kind not in ("insert", "update", "delete", "bootstrap-insert"):
            raise Malformed(f"type {kind!r}")
        if row is None:
            raise Malformed("no data")
        by_log = kind == "bootstrap-insert" or place is None
        order = (0, 0) if by_log else _order(place or "", offset)
        if database is None or table is None:
            raise Malformed("no table")
        before = {**row, **{name: part for name, part in (old or {}).items() if part is not None}}
        return [RowChange(row, kind == "delete", order, before, key, by_log, table=f"{database}.{table}")]


def _order(place: str, offset: int | None) -> tuple[int, int]:
    found = PLACE.fullmatch(place)
    if found is None:
        raise Malformed(f"position {place!r}")
    at, number = int(found[2]), BEYOND if offset is None or offset < 0 else offset
    if at >> 40 or number > BEYOND:
        raise Malformed(f"position {place!r}, row {offset}")
    return int(found[1]), at * (BEYOND + 1) + number
