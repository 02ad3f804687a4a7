"""Oracle GoldenGate's JSON, for the proof only: https://docs.oracle.com/en/middleware/goldengate/big-data/"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..avro_validator import Malformed
from ..row_change import RowChange
from .json_fields import members, names, text

PLACE: Final = re.compile(r"(\d{1,19})(\d{10})", re.ASCII)


class GoldenGateMessages:
    """Keeps the contract of `JsonMessageReader`."""

    def changes(self, value: Mapping[str, Any]) -> Sequence[RowChange]:
        kind, table, place = text(value, "op_type"), text(value, "table"), text(value, "pos")
        old, new, key = members(value, "before"), members(value, "after"), names(value, "primary_keys")
        text(value, "op_ts")
        found = None if place is None else PLACE.fullmatch(place)
        if place is not None and found is None:
            raise Malformed(f"pos {place!r}")
        order = (0, 0) if found is None else (int(found[1]), int(found[2]))
        if kind == "T":
            return [RowChange({}, order=order, truncates=True, table=table or "")]
        row = old if kind == "D" else new
        if kind not in ("I", "U", "D") or row is None or table is None:
            raise Malformed(f"op_type {kind!r} without a row, a table or a meaning")
        told = {name: part for name, part in (old or {}).items() if part is not None}
        before = {**(new or {}), **told}
        by_log, partial = found is None, kind == "U"
        return [RowChange(row, kind == "D", order, before, key, by_log, partial=partial, table=table)]
