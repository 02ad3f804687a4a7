"""JSON without a schema, for the proof only: what the job declares, else what each value is by itself.

A value of another kind than its column in the target is the job's dead letter. Forms of declared types are in
`json_forms`. It gives an Avro schema of each message's own shape, so the rules for logical types stand once.
"""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import pyarrow as pa

from ...schemas.encodings.schema_store import Side
from .avro_reader import Reader
from .avro_validator import Malformed
from .json_forms import declared_value, whole_number
from .json_reader import Members, Real, check, refused
from .rules import Rules

LONG: Final = 1 << 63
SOURCE_TEXTS: Final = frozenset({"name", "sequence", "file", "commit_scn", "scn", "commit_lsn", "change_lsn"})
SOURCE_NUMBERS: Final = frozenset({"ts_ms", "server_id", "pos", "row"})
MOST_DIGITS: Final = 76
Made = tuple[Any, Any]
"""An Avro type, and the value as fastavro would give it."""


def parsed(payload: bytes) -> Any:
    """The JSON of a payload, with objects as `Members`. Raises one of `avro_reader.UNREADABLE`."""
    try:
        value = json.loads(payload.decode(), object_pairs_hook=Members, parse_float=Real, parse_constant=refused)
    except RecursionError:
        raise Malformed("nested too deeply") from None
    check(value, 1)
    return value


class PlainJsonReader:
    """Reads keys and values; keeps a reader for each shape that messages have."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._readers: dict[str, Reader] = {}
        # Records of the message so far: Avro wants a name of its own for each.
        self._names = [0]

    def read(self, payload: bytes, topic: str, side: Side) -> tuple[Any, Reader]:
        """The value as fastavro would give it, and its reader. Raises one of `avro_reader.UNREADABLE`."""
        value = parsed(payload)
        self._names[0] = 0
        return self._with_reader(self._envelope(value) if side == "value" else self._row(value, None))

    def row(self, row: Mapping[str, Any]) -> tuple[Any, Reader]:
        """A row that an envelope holds, as `read` gives one. Raises one of `avro_reader.UNREADABLE`."""
        self._names[0] = 0
        return self._with_reader(self._row(Members(list(row.items())), None))

    def _with_reader(self, found: Made) -> tuple[Any, Reader]:
        schema, made = found
        named = repr(schema)
        if named not in self._readers:
            self._readers[named] = Reader.of(schema, self._rules.on_unrepresentable)
        return made, self._readers[named]

    def _envelope(self, value: Any) -> Made:
        if not isinstance(value, Members):
            raise Malformed("no object")
        if self._rules.format != "debezium":
            return self._row(value, None)
        parts = dict(value.pairs)
        op, source = parts.get("op"), parts.get("source")
        if op is not None and type(op) is not str:
            raise Malformed("op is no text")
        found: dict[str, Any] = {"op": op, "source": _source(source)}
        fields = []
        for name, only in (("after", None), ("before", self._rules.key)):
            part = parts.get(name)
            if name == "before" and only is None:
                part = None
            if part is not None and not isinstance(part, Members):
                raise Malformed(f"{name} is no object")
            kind, found[name] = ({}, None) if part is None else self._row(part, only)
            fields.append({"name": name, "type": "null" if part is None else ["null", {**kind, "name": name}]})
        return {"type": "record", "name": "envelope", "fields": fields}, found

    def _row(self, value: Any, only: tuple[str, ...] | None) -> Made:
        """A row, or a key of one value; with `only` these fields of it."""
        if not isinstance(value, Members):
            return self._of_column("key" if self._rules.key is None else self._rules.key[0], value)
        fields: list[dict[str, Any]] = []
        row: dict[str, Any] = {}
        for name, part in dict(value.pairs).items():
            if only is None or name in only:
                if not name:
                    raise Malformed("a field without a name")
                if name.startswith("_millrace_") or any(other.casefold() == name.casefold() for other in row):
                    raise Malformed("a field that cannot be a column")
                kind, row[name] = self._of_column(name, part)
                fields.append({"name": name, "type": kind})
        return {"type": "record", "name": "row", "fields": fields}, row

    def _of_column(self, name: str, value: Any) -> Made:
        declared = self._rules.declared.get(name)
        if declared is not None:
            return declared_value(declared, value, self._rules, self._names)
        columns, name = self._rules.columns, self._rules.renames.get(name, name)
        held = columns.field(name).type if columns is not None and name in columns.names else None
        others = any(other.startswith(f"{name}__") for other in columns.names) if columns is not None else False
        if held is not None and value is not None and not others and not _is_kind(held, value):
            raise Malformed(f"{name}: a value of another kind than its column's")
        kind = _kind([value], held, self._names)
        return _nullable(kind), _fit(value, kind)


def _source(source: Any) -> dict[str, Any] | None:
    if source is None:
        return None
    if not isinstance(source, Members):
        raise Malformed("source is no object")
    found = {name: _plain(part) for name, part in source.pairs}
    for name, part in found.items():
        if name in SOURCE_TEXTS and part is not None and type(part) is not str:
            raise Malformed(f"source.{name} is no text")
        if name in SOURCE_NUMBERS and part is not None:
            found[name] = whole_number(part, 64)
    return found


def _is_kind(held: pa.DataType, value: Any) -> bool:
    """Whether a column of this type may have come of such values."""
    if isinstance(value, bool):
        return bool(pa.types.is_boolean(held))
    if isinstance(value, int):
        return any(one(held) for one in (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal))
    if isinstance(value, Real):
        return bool(pa.types.is_floating(held))
    if isinstance(value, str):
        return bool(pa.types.is_string(held) or pa.types.is_large_string(held))
    # Targets differ in what they keep records and lists as.
    return not (pa.types.is_primitive(held) or pa.types.is_decimal(held))


def _kind(values: list[Any], held: pa.DataType | None, names: list[int]) -> Any:
    """The Avro type that holds these values; `names` counts records. Raises Malformed where there is none."""
    some = [value for value in values if value is not None]
    kinds = {type(value) for value in some}
    if not some:
        return "null"
    if kinds <= {int, Real}:
        floating = Real in kinds or (held is not None and pa.types.is_float64(held))
        return "double" if floating else _whole(some)
    if kinds == {Members}:
        every = [dict(value.pairs) for value in some]
        parts = {name: _kind([one.get(name) for one in every], None, names) for one in every for name in one}
        if "" in parts:
            raise Malformed("a field without a name")
        names[0] += 1
        fields = [{"name": name, "type": _nullable(kind)} for name, kind in parts.items()]
        return {"type": "record", "name": f"r{names[0]}", "fields": fields}
    if kinds == {list}:
        return {"type": "array", "items": _nullable(_kind([part for value in some for part in value], None, names))}
    if kinds == {bool} or kinds == {str}:
        return "boolean" if kinds == {bool} else "string"
    raise Malformed("values of several kinds in one list")


def _nullable(kind: Any) -> Any:
    return kind if kind == "null" else ["null", kind]


def _whole(values: list[int]) -> Any:
    if all(-LONG <= value < LONG for value in values):
        return "long"
    digits = max(len(str(abs(value))) for value in values)
    if digits > MOST_DIGITS:
        raise Malformed("a number beyond every type")
    return {"type": "bytes", "logicalType": "decimal", "precision": 38 if digits <= 38 else MOST_DIGITS, "scale": 0}


def _fit(value: Any, kind: Any) -> Any:
    """The value as fastavro would give it."""
    kind = kind[1] if isinstance(kind, list) else kind
    if value is None or kind in ("boolean", "string", "long"):
        return value
    if kind == "double":
        return _double(str(value))
    if kind["type"] == "array":
        return [_fit(part, kind["items"]) for part in value]
    if kind["type"] == "record":
        parts = dict(value.pairs)
        return {part["name"]: _fit(parts.get(part["name"]), part["type"]) for part in kind["fields"]}
    return value.to_bytes((value.bit_length() + 8) // 8, "big", signed=True)


def _double(text: str) -> float:
    """The double of a number, which has to show all its digits."""
    number, exact = float(text), Decimal(text)
    shown = {repr(number), f"{number:.15e}", f"{number:.16e}"} if abs(number) != float("inf") else set()
    if not any(Decimal(one) == exact for one in shown):
        raise Malformed("a number with more digits than a double holds")
    return number


def _plain(value: Any) -> Any:
    if isinstance(value, Members):
        return {name: _plain(part) for name, part in value.pairs}
    return [_plain(part) for part in value] if isinstance(value, list) else value
