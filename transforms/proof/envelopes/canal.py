"""Canal's flat messages, for the proof only: https://github.com/alibaba/canal, `FlatMessage`."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..avro_validator import Malformed
from ..json_reader import Members
from ..row_change import RowChange
from .json_fields import names, number, text

STATEMENTS: Final = ("CREATE", "ALTER", "ERASE", "QUERY", "RENAME", "CINDEX", "DINDEX")


class CanalMessages:
    """Keeps the contract of `JsonMessageReader`."""

    def changes(self, value: Mapping[str, Any]) -> Sequence[RowChange]:
        kind, database, table = text(value, "type"), text(value, "database"), text(value, "table")
        key, ddl = names(value, "pkNames"), value.get("isDdl")
        number(value, "es")
        rows, old = _rows(value, "data"), _rows(value, "old")
        if ddl is not None and type(ddl) is not bool:
            raise Malformed("isDdl is neither true nor false")
        named = "" if database is None or table is None else f"{database}.{table}"
        if kind == "TRUNCATE":
            return [RowChange({}, truncates=True, table=named)]
        if ddl or kind in STATEMENTS:
            return []
        if kind not in ("INSERT", "UPDATE", "DELETE") or not rows or not named:
            raise Malformed(f"type {kind!r} without rows, a table or a meaning")
        earlier = old if kind == "UPDATE" and old else [{}] * len(rows)
        if len(earlier) != len(rows):
            raise Malformed("old and data have different lengths")
        return [_change(kind, key, named, *pair) for pair in zip(rows, earlier, strict=True)]


def _change(
    kind: str, key: tuple[str, ...], table: str, row: dict[str, Any] | None, old: dict[str, Any] | None
) -> RowChange:
    told = {name: part for name, part in (old or {}).items() if part is not None}
    return RowChange(row or {}, kind == "DELETE", before={**(row or {}), **told}, key=key, table=table)


def _rows(value: Mapping[str, Any], name: str) -> list[dict[str, Any] | None]:
    found = value.get(name)
    if found is None:
        return []
    if type(found) is not list or not all(one is None or isinstance(one, Members) for one in found):
        raise Malformed(f"{name} is no list of objects")
    return [None if one is None else dict(one.pairs) for one in found]
