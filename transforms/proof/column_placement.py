"""Which column of the target a value belongs to, as the proof decides it, where a column's type or spelling changed.

The job's code is not used: the types are read from the writer's Avro schema and compared with those of the target's
columns. A value belongs to the first column that can hold its type: that of its name, then those beside it
(`v__int64`) in the target's order.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

import pyarrow as pa

from ...schemas.model.unrepresentable import SUFFIX, OnUnrepresentable
from .avro_logical_types import VARIABLE_DECIMAL, ZONED, decimal_of, moment_of, zone_of
from .avro_reader import Reader
from .avro_validator import Malformed

DIGITS: Final = {32: 10, 64: 19}
ENDING: Final = re.compile(
    "__(u?int(8|16|32|64)|float(16|32|64)|decimal|date|timestamp|timestamptz|time|duration|struct|map|list|bool|string|"
    "binary|other)(_[2-9])?"
)


class AvroType(NamedTuple):
    """What a value is: `word` and, for numbers, `bits` or digits and scale; `zoned` instants; `parts` of what nests."""

    word: str
    bits: int = 0
    scale: int = 0
    zoned: bool = False
    parts: tuple[tuple[str, "AvroType"], ...] = ()


@dataclass(frozen=True, slots=True)
class Placing:
    """Of one schema's record: the target's column of each field that goes elsewhere, and fields that none can hold.

    `beside` are by field the other columns in which its value might stand.
    """

    moved: Mapping[str, str] = field(default_factory=dict)
    beside: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    refused: tuple[str, ...] = ()

    def row(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The row by the target's columns."""
        return {self.moved.get(name, name): value for name, value in row.items()}

    def columns(self, names: Sequence[str]) -> tuple[str, ...]:
        """The columns that these fields stand in, and those beside."""
        return tuple(dict.fromkeys(one for name in names for one in self._columns(name)))

    def _columns(self, name: str) -> Iterator[str]:
        yield self.moved.get(name, name)
        yield from self.beside.get(name, ())


@dataclass(frozen=True, slots=True)
class Asked:
    """The target's columns, what the job says of them, and the types of a schema, by full and short name."""

    columns: pa.Schema
    named: Mapping[str, Any]
    key: Sequence[str]
    policy: OnUnrepresentable
    renames: Mapping[str, str] = field(default_factory=dict)


def placing_of(asked: Asked, record: Any) -> Placing:
    """Where the fields of a record schema go."""
    moved, beside, refused = {}, {}, []
    columns, key, types = asked.columns, asked.key, _Types(asked.named, asked.policy)
    renames = {old.casefold(): new for old, new in asked.renames.items()}
    fields = {part["name"]: types.of(part["type"], (_name(record),)) for part in record["fields"]}
    by_fold = {name.casefold(): name for name in reversed(columns.names)}
    for name, kind in fields.items():
        wanted = renames.get(name.casefold(), name)
        own = wanted if wanted in columns.names else by_fold.get(wanted.casefold(), wanted)
        own = wanted if own in fields else own
        if wanted != name:
            moved[name + SUFFIX] = wanted + SUFFIX
        others = [other for other in columns.names if other not in fields and _stands_beside(other, own)]
        place = own
        if own in columns.names and name not in key and not holds(columns.field(own).type, kind):
            place = next((other for other in others if holds(columns.field(other).type, kind)), "")
            if not place:
                refused.append(name)
                place = own
        if place != name:
            moved[name] = place
        rest = tuple(one for one in (own, *others) if one != place)
        if rest:
            beside[name] = rest
    return Placing(moved, beside, tuple(refused))


def _stands_beside(other: str, name: str) -> bool:
    return other.startswith(name) and ENDING.fullmatch(other, len(name)) is not None


def holds(kind: pa.DataType, value: AvroType) -> bool:
    """Whether a column of this type holds every value of that one."""
    word = value.word
    if word == "null" or pa.types.is_null(kind):
        return True
    if word == "integer":
        if pa.types.is_decimal(kind):
            return bool(kind.precision - kind.scale >= DIGITS[value.bits])
        return bool((pa.types.is_signed_integer(kind) and kind.bit_width >= value.bits) or (
            pa.types.is_float64(kind) and value.bits == 32
        ))  # fmt: skip
    if word == "float":
        return bool(pa.types.is_floating(kind) and kind.bit_width >= value.bits)
    if word == "decimal":
        whole = value.bits - value.scale
        return bool(pa.types.is_decimal(kind) and kind.scale >= value.scale and kind.precision - kind.scale >= whole)
    if word == "date":
        return pa.types.is_date(kind) or (pa.types.is_timestamp(kind) and kind.tz is None)
    if word == "instant":
        return pa.types.is_timestamp(kind) and (kind.tz is not None) == value.zoned
    if word == "struct":
        parts = {part.name: part.type for part in kind} if pa.types.is_struct(kind) else {}
        return bool(parts) and all(name in parts and holds(parts[name], part) for name, part in value.parts)
    if word == "list":
        return _is_list(kind) and holds(kind.value_type, value.parts[0][1])
    if word == "map":
        return pa.types.is_map(kind) and holds(kind.item_type, value.parts[0][1])
    return any(matches(kind) for matches in _SIMPLE[word])


_SIMPLE: Final = {
    "text": (pa.types.is_string, pa.types.is_large_string),
    "bytes": (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary),
    "boolean": (pa.types.is_boolean,),
    "time": (pa.types.is_time,),
    "duration": (pa.types.is_duration,),
}


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind)


@dataclass(frozen=True, slots=True)
class _Types:
    """`around` are the names of the records that enclose a type: one that leads back to them is JSON text."""

    named: Mapping[str, Any]
    policy: OnUnrepresentable

    def of(self, schema: Any, around: tuple[str, ...]) -> AvroType:
        if isinstance(schema, list):
            return self._union([branch for branch in schema if branch != "null"], around)
        if isinstance(schema, str):
            if schema.rpartition(".")[2] in around:
                return AvroType("text")
            return self.of(self.named[schema], around) if schema in self.named else self._scalar({"type": schema})
        if not isinstance(schema["type"], str):
            inner = schema["type"]
            return self.of({**schema, **inner} if isinstance(inner, dict) else inner, around)
        if schema["type"] in ("record", "error"):
            return self._record(schema, around)
        if schema["type"] in ("array", "map"):
            item = self.of(schema["items" if schema["type"] == "array" else "values"], around)
            return AvroType("list" if schema["type"] == "array" else "map", parts=(("", item),))
        if schema["type"] in self.named:
            return self.of({**self.named[schema["type"]]}, around)
        return self._scalar(schema)

    def _union(self, branches: list[Any], around: tuple[str, ...]) -> AvroType:
        kinds = [self.of(branch, around) for branch in branches]
        if len(kinds) < 2:
            return kinds[0] if kinds else AvroType("null")
        if all(kind.word == "integer" for kind in kinds):
            return AvroType("integer", max(kind.bits for kind in kinds))
        return AvroType("struct", parts=tuple((f"member{number}", kind) for number, kind in enumerate(kinds)))

    def _record(self, schema: Mapping[str, Any], around: tuple[str, ...]) -> AvroType:
        if schema.get("connect.name") == VARIABLE_DECIMAL:
            return AvroType("text")
        inside = (*around, _name(schema))
        return AvroType(
            "struct", parts=tuple((part["name"], self.of(part["type"], inside)) for part in schema["fields"])
        )

    def _scalar(self, schema: Mapping[str, Any]) -> AvroType:
        kind, moment, decimal = schema["type"], moment_of(schema), decimal_of(schema)
        as_text = self.policy is OnUnrepresentable.TEXT
        if moment is not None:
            return AvroType("text") if as_text and moment[0] != "duration" else AvroType(
                moment[0], zoned=zone_of(schema) == "Z"
            )  # fmt: skip
        if decimal is not None:
            digits, scale = decimal
            return AvroType("text") if digits is None else AvroType("decimal", digits, scale)
        if kind == "string" and schema.get("connect.name") == ZONED:
            return AvroType("text") if as_text else AvroType("instant", zoned=True)
        if kind == "fixed" and schema.get("logicalType") == "duration" and schema["size"] == 12:
            return AvroType("struct", parts=tuple((name, AvroType("null")) for name in ("months", "days", "millis")))
        if kind == "fixed" and schema.get("logicalType") == "uuid" and schema["size"] == 16:
            return AvroType("text")
        simple = {"int": ("integer", 32), "long": ("integer", 64), "float": ("float", 32), "double": ("float", 64)}
        if kind in simple:
            return AvroType(*simple[kind])
        return AvroType({"boolean": "boolean", "bytes": "bytes", "fixed": "bytes", "null": "null"}.get(kind, "text"))


def refuse_others(placing: Placing | None, row: Mapping[str, Any], missing: Sequence[str]) -> None:
    """Raises Malformed for a value that no column of the target can hold, where the job makes it a dead letter."""
    for name in () if placing is None else placing.refused:
        if row.get(name) is not None and name not in missing:
            raise Malformed(f"the target's column {name!r} cannot hold this value")


@dataclass(slots=True)
class Placings:
    """The placing of each schema that was read, in a target of these columns (None: there are none yet)."""

    columns: pa.Schema | None
    refuses: bool
    policy: OnUnrepresentable
    renames: Mapping[str, str] = field(default_factory=dict)
    _found: dict[int, Placing | None] = field(default_factory=dict)

    def of(self, reader: Reader, part: str | None, key: Sequence[str]) -> Placing | None:
        """Where the columns of rows stand, `part` being their field; None where each stands under its name."""
        if self.columns is None:
            return None
        if id(reader) not in self._found:
            named = named_types(reader.schema)
            record = reader.schema if part is None else reader.part_schema(part)
            record = named.get(record["type"], record)
            found = None
            if isinstance(record, dict) and "fields" in record:
                found = placing_of(Asked(self.columns, named, key, self.policy, self.renames), record)
                refused = found.refused if self.refuses else ()
                found = replace(found, refused=refused) if found.moved or found.beside or refused else None
            self._found[id(reader)] = found
        return self._found[id(reader)]


def _name(schema: Mapping[str, Any]) -> str:
    return str(schema["name"]).rpartition(".")[2]


def named_types(schema: Any) -> dict[str, Any]:
    """The types that a schema defines, by full name and by the part behind the last dot."""
    found: dict[str, Any] = {}

    def walk(part: Any, namespace: str) -> None:
        if isinstance(part, list):
            for branch in part:
                walk(branch, namespace)
        elif isinstance(part, dict):
            if part.get("type") in ("record", "error", "enum", "fixed") and "name" in part:
                namespace = part.get("namespace") or part["name"].rpartition(".")[0] or namespace
                short = part["name"].rpartition(".")[2]
                found.update({f"{namespace}.{short}" if namespace else short: part, short: part})
            for name in ("type", "items", "values"):
                walk(part.get(name), namespace)
            for member in part.get("fields", ()):
                walk(member["type"], namespace)

    walk(schema, "")
    return found
