"""Canonical values of what fastavro reads: the logical types and the names of Kafka Connect and Debezium."""

import json
import math
import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

from ...schemas.model.unrepresentable import OnUnrepresentable
from .avro_logical_types import VARIABLE_DECIMAL, ZONED, decimal_of, moment_of, zone_of, zoned
from .canonical import Number
from .debezium import PLACEHOLDER
from .unrepresentable import (
    decimal_reader,
    moment_reader,
    settled,
    settled_entries,
    settled_items,
    zoned_reader,
)

Convert = Callable[[Any], Any]

SYMBOL: Final = re.compile("[A-Za-z_][A-Za-z0-9_]*")

PYTHON_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "null": (type(None),),
    "boolean": (bool,),
    "int": (int,),
    "long": (int,),
    "float": (float,),
    "double": (float,),
    "string": (str,),
    "enum": (str,),
    "bytes": (bytes,),
    "fixed": (bytes,),
    "array": (list,),
    "map": (dict,),
}


def converter(schema: Any, policy: OnUnrepresentable) -> Convert | None:
    """A function from fastavro's plain values to canonical ones; None where the plain values are canonical already.

    Values that no target has are there as `policy` says; where they cannot be, the function gives a `Noted` row.
    """
    return _Converters(policy).of(schema, "")


def field_converter(schema: Any, name: str, policy: OnUnrepresentable) -> Convert | None:
    """As `converter`, for one field of a record schema."""
    converters = _Converters(policy)
    converters.of(schema, "")
    return converters.outermost.get(name)


class _Converters:
    """Builds the converters of one schema. A field whose type leads back to an enclosing record becomes JSON text.

    `named`: by full name of a type. `around`: the records being defined, outermost first. `outermost`: by field of the
    outermost record.
    """

    def __init__(self, policy: OnUnrepresentable) -> None:
        self.policy = policy
        self.named: dict[str, Convert | None] = {}
        self.around: list[str] = []
        self.outermost: dict[str, Convert | None] = {}

    def of(self, schema: Any, namespace: str) -> Convert | None:
        if isinstance(schema, str):
            return self.named.get(schema, self.named.get(f"{namespace}.{schema}"))
        if isinstance(schema, list):
            return self._union(schema, namespace)
        kind = schema["type"]
        if not isinstance(kind, str):
            return self.of({**schema, **kind} if isinstance(kind, dict) else kind, namespace)
        if kind in ("record", "error"):
            return self._record(schema, namespace)
        convert = _scalar(kind, schema, self.policy)
        if kind == "array" and (item := self.of(schema["items"], namespace)) is not None:
            return lambda value: settled_items([item(part) for part in value])
        if kind == "map" and (part := self.of(schema["values"], namespace)) is not None:
            return lambda value: settled_entries({name: part(inner) for name, inner in value.items()})
        if kind in ("fixed", "enum"):
            self.named[_full_name(schema, namespace)[0]] = convert
        return convert

    def _record(self, schema: Mapping[str, Any], namespace: str) -> Convert | None:
        full, namespace = _full_name(schema, namespace)
        if schema.get("connect.name") == VARIABLE_DECIMAL:
            self.named[full] = _variable_decimal
            return _variable_decimal
        self.around.append(full)
        fields = {}
        for member in schema["fields"]:
            back = any(name in self.around for name in _nearest(member["type"], namespace))
            fields[member["name"]] = _json_text if back else self.of(member["type"], namespace)
        self.around.pop()
        if not self.around:
            self.outermost = fields
        parts = [(name, convert) for name, convert in fields.items() if convert is not None]
        self.named[full] = _changed(parts, self.policy) if parts else None
        return self.named[full]

    def _union(self, branches: list[Any], namespace: str) -> Convert | None:
        """A union of several types becomes a record `member0`, `member1`..., of which one is not NULL.

        A union of `int` and `long` is plain numbers; one of null and a single type is that type.
        """
        converters = [(_python_types(branch), self.of(branch, namespace)) for branch in branches]
        several = [(types, convert) for types, convert in converters if types != (type(None),)]
        if len(several) == 1 and several[0][1] is not None:
            single = several[0][1]
            return lambda value: None if value is None else single(value)
        if len(several) < 2 or all(types == (int,) and convert is None for types, convert in several):
            return None
        return lambda value: None if value is None else settled(_member(several, value), self.policy)


def _changed(parts: list[tuple[str, Convert]], policy: OnUnrepresentable) -> Convert:
    def convert(value: Any) -> Any:
        changed = dict(value)
        for name, part in parts:
            changed[name] = part(value[name])
        return settled(changed, policy)

    return convert


def _member(several: list[tuple[tuple[type, ...], Convert | None]], value: Any) -> Any:
    for index, (types, convert) in enumerate(several):
        if type(value) in types:
            return {f"member{index}": convert(value) if convert is not None else value}
    return value


def _nearest(schema: Any, namespace: str) -> list[str]:
    """Names that a type refers to directly, without another record between: as written, and with the namespace."""
    if isinstance(schema, str):
        return [schema, f"{namespace}.{schema}"]
    if isinstance(schema, list):
        return [name for branch in schema for name in _nearest(branch, namespace)]
    if schema["type"] in ("array", "map"):
        return _nearest(schema["items" if schema["type"] == "array" else "values"], namespace)
    return [] if isinstance(schema["type"], str) else _nearest(schema["type"], namespace)


def has_invalid_symbols(schema: Mapping[str, Any]) -> bool:
    """Whether a schema is an enum with symbols that are no Avro names, as some converters write them."""
    symbols = schema.get("symbols") if schema.get("type") == "enum" else None
    if not isinstance(symbols, list) or not all(isinstance(symbol, str) and symbol for symbol in symbols):
        return False
    return len(set(symbols)) == len(symbols) and not all(SYMBOL.fullmatch(symbol) for symbol in symbols)


def _scalar(kind: str, schema: Mapping[str, Any], policy: OnUnrepresentable) -> Convert | None:
    moment, decimal = moment_of(schema), decimal_of(schema)
    if moment is not None:
        return moment_reader(*moment, zone_of(schema), policy)
    if decimal is not None:
        return decimal_reader(*decimal, policy)
    if has_invalid_symbols(schema):
        symbols = schema["symbols"]
        return lambda value: symbols[int(value[1:])]
    if kind == "string" and schema.get("connect.name") == ZONED:
        read = zoned_reader(zoned, policy)
        return lambda value: value if value == PLACEHOLDER else read(value)
    if kind == "fixed" and schema.get("logicalType") == "uuid" and schema["size"] == 16:
        return lambda value: str(uuid.UUID(bytes=value))
    if kind == "fixed" and schema.get("logicalType") == "duration" and schema["size"] == 12:
        return _duration
    return None


def _python_types(schema: Any) -> tuple[type, ...]:
    kind = schema if isinstance(schema, str) else "union" if isinstance(schema, list) else schema["type"]
    return PYTHON_TYPES.get(kind if isinstance(kind, str) else "record", (dict, str, bytes))


def _json_text(value: Any) -> str | None:
    """Avro's JSON encoding (a byte is one character of text), but without the type names around values of unions."""
    return None if value is None else json.dumps(_json(value), ensure_ascii=False, separators=(",", ":"))


def _json(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, list):
        return [_json(part) for part in value]
    return {name: _json(part) for name, part in value.items()} if isinstance(value, dict) else value


def _variable_decimal(value: Mapping[str, Any]) -> Any:
    return Number(int.from_bytes(value["value"], "big", signed=True), value["scale"])


def _duration(value: bytes) -> Any:
    names = ("months", "days", "millis")
    return {name: int.from_bytes(value[4 * at : 4 * at + 4], "little") for at, name in enumerate(names)}


def _full_name(schema: Mapping[str, Any], namespace: str) -> tuple[str, str]:
    name = schema["name"]
    if "." in name:
        return name, name.rpartition(".")[0]
    space = schema.get("namespace", namespace) or ""
    return (f"{space}.{name}" if space else name), space
