"""Kafka Connect's JSON with the schema in each message, for the proof only: Python's `json`, and rules of its own.

It gives what the proof's reader of Avro gives of the same value, so the rules for logical types stand once.
"""

import base64
import binascii
import json
import math
import struct
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Final

from ...schemas.encodings.schema_store import Side
from ...schemas.errors import SchemaError
from ...schemas.model.unrepresentable import OnUnrepresentable
from .avro_reader import Reader
from .avro_validator import Malformed

AVRO_NAMES: Final = {
    "boolean": "boolean",
    "int8": "int",
    "int16": "int",
    "int32": "int",
    "int64": "long",
    "float": "float",
    "float32": "float",
    "double": "double",
    "float64": "double",
    "string": "string",
    "bytes": "bytes",
}
BITS: Final = {"int8": 8, "int16": 16, "int32": 32, "int64": 64}
NO_NUMBERS: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
DEEPEST: Final = 128
TINY, LARGEST, BEYOND = 1e-60, 3.4028234663852886e38, 2.0**128
INFINITE: Final = 0x7F800000
MISSING: Final = object()


class JsonPayloadReader:
    """Reads keys and values; keeps a reader for each schema that messages hold."""

    def __init__(self, policy: OnUnrepresentable = OnUnrepresentable.NULL_AND_NOTE) -> None:
        self._policy = policy
        self._readers: dict[str, tuple[Reader, Any]] = {}

    def read(self, payload: bytes, topic: str, side: Side) -> tuple[Any, Reader]:
        """The value as fastavro would give it, and its reader. Raises one of `avro_reader.UNREADABLE`."""
        try:
            text = payload.decode()
            message = json.loads(text, object_pairs_hook=Members, parse_float=Real, parse_constant=refused)
        except RecursionError:
            raise Malformed("nested too deeply") from None
        if not isinstance(message, Members) or [name for name, _ in message.pairs] != ["schema", "payload"]:
            raise Malformed("not a schema and a payload")
        (_, schema), (_, value) = message.pairs
        if "\\ud" in text or "\\uD" in text or text.count("[") + text.count("{") > DEEPEST:
            check(value, 1)
        reader, plain = self._reader(schema)
        return _value(value, plain), reader

    def _reader(self, schema: Any) -> tuple[Reader, Any]:
        named = repr(schema)
        if named not in self._readers:
            plain = _plain(schema)
            try:
                self._readers[named] = Reader.of(_avro(plain, [0]), self._policy), plain
            except (KeyError, TypeError, RecursionError) as error:
                raise SchemaError(f"the embedded schema: {error!r}") from None
        return self._readers[named]


class Members:
    """An object as it was written, with keys that may stand in it twice: the last one counts."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        self.pairs = pairs

    def __repr__(self) -> str:
        return f"{{{self.pairs!r}}}"


def check(value: Any, depth: int) -> None:
    """Refuse what is nested too deeply, and half of a surrogate pair, wherever it is."""
    if isinstance(value, str):
        value.encode()
        return
    parts = [part for pair in value.pairs for part in pair] if isinstance(value, Members) else value
    if isinstance(parts, list):
        if depth > DEEPEST:
            raise Malformed("nested too deeply")
        for part in parts:
            check(part, depth + 1)


class Real(str):
    """A number with a fraction or an exponent, as it was written."""


def refused(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


def _plain(value: Any) -> Any:
    """Objects as dictionaries."""
    if isinstance(value, Members):
        return {name: _plain(part) for name, part in value.pairs}
    if isinstance(value, Real):
        return float(value)
    return [_plain(part) for part in value] if isinstance(value, list) else value


def _avro(schema: Any, names: list[int]) -> Any:
    """The Avro schema that Confluent's converter makes of a Connect schema; `names` counts records."""
    if not isinstance(schema, Mapping):
        raise SchemaError("the embedded schema has no type")
    kind = schema.get("type")
    attributes: dict[str, Any] = {}
    if isinstance(schema.get("name"), str):
        attributes["connect.name"] = schema["name"]
    if isinstance(schema.get("parameters"), dict):
        attributes["connect.parameters"] = schema["parameters"]
    made: Any
    if kind in AVRO_NAMES:
        made = {"type": AVRO_NAMES[kind], **attributes}
    elif kind == "array":
        made = {"type": "array", "items": _avro(schema.get("items"), names), **attributes}
    elif kind == "map" and _has_text_keys(schema):
        made = {"type": "map", "values": _avro(schema.get("values"), names), **attributes}
    elif kind == "map":
        parts = [{"name": "key", "type": _avro(schema.get("keys"), names)}]
        parts.append({"name": "value", "type": _avro(schema.get("values"), names)})
        made = {"type": "array", "items": _record(parts, names, {}), **attributes}
    elif kind == "struct":
        made = _record(
            [{"name": one["field"], "type": _avro(one, names)} for one in schema["fields"]], names, attributes
        )
    else:
        raise SchemaError(f"the embedded schema: {kind!r} is no type")
    return ["null", made] if schema.get("optional") is True else made


def _record(fields: list[dict[str, Any]], names: list[int], attributes: Mapping[str, Any]) -> dict[str, Any]:
    names[0] += 1
    return {"type": "record", "name": f"r{names[0]}", "fields": fields, **attributes}


def _has_text_keys(schema: Mapping[str, Any]) -> bool:
    keys = schema.get("keys")
    return isinstance(keys, Mapping) and keys.get("type") == "string" and keys.get("optional") is not True


def _value(value: Any, schema: Mapping[str, Any]) -> Any:
    """A value as fastavro would give it. Raises Malformed, ValueError."""
    if value is None or value is MISSING:
        if schema.get("optional") is True:
            return None
        raise Malformed("a field that is not optional is missing or null")
    kind = schema["type"]
    if kind == "struct":
        members = _members(value)
        return {one["field"]: _value(members.get(one["field"], MISSING), one) for one in schema["fields"]}
    if kind == "map" and _has_text_keys(schema):
        # A key twice is written twice, and the later value counts; both have to be readable.
        made = [(_text(name), _value(part, schema["values"])) for name, part in _pairs(value)]
        return dict(made)
    if kind in ("array", "map"):
        if not isinstance(value, list):
            raise Malformed("no list")
        if kind == "array":
            return [_value(part, schema["items"]) for part in value]
        return [_entry(part, schema) for part in value]
    return _scalar(value, kind)


def _pairs(value: Any) -> list[tuple[str, Any]]:
    if not isinstance(value, Members):
        raise Malformed("no object")
    return value.pairs


def _members(value: Any) -> dict[str, Any]:
    return dict(_pairs(value))


def _entry(value: Any, schema: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(value, list) or len(value) != 2:
        raise Malformed("no entry of a map")
    return {"key": _value(value[0], schema["keys"]), "value": _value(value[1], schema["values"])}


def _scalar(value: Any, kind: str) -> Any:
    if kind in BITS and type(value) is int and -(1 << BITS[kind] - 1) <= value < 1 << BITS[kind] - 1:
        return value
    if kind == "boolean" and type(value) is bool:
        return value
    if kind == "string" and type(value) is str:
        return _text(value)
    if kind == "bytes" and type(value) is str:
        return _bytes(value)
    if AVRO_NAMES[kind] in ("float", "double"):
        return float_of(value, single=AVRO_NAMES[kind] == "float")
    raise Malformed(f"no {kind}")


def _text(value: str) -> str:
    value.encode()
    return value


def _bytes(value: str) -> bytes:
    try:
        made = base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise Malformed(f"no base64: {error}") from None
    if base64.b64encode(made).decode() != value:
        raise Malformed("base64 with bits that belong to no byte")
    return made


def float_of(value: Any, single: bool) -> float:
    if type(value) is str and value in NO_NUMBERS:
        return NO_NUMBERS[value]
    if type(value) not in (int, Real):
        raise Malformed("no number")
    return _nearest_single(str(value)) if single else float(str(value))


def _nearest_single(text: str) -> float:
    """The nearest of 32 bits, from the text in one step: by way of 64 bits the last one could differ."""
    double = float(text)
    if abs(double) < TINY or abs(double) >= BEYOND:
        return math.copysign(0.0 if abs(double) < TINY else math.inf, double)
    exact = abs(Fraction(text))
    bits = struct.unpack("<I", struct.pack("<f", min(abs(double), LARGEST)))[0]
    # The largest number is followed by 2**128, which stands for what is infinite.
    found = [(abs(_of_bits(one) - exact), one & 1, one) for one in (bits - 1, bits, bits + 1) if one >= 0]
    nearest = min(found)[2]
    return math.copysign(math.inf if nearest == INFINITE else float(_of_bits(nearest)), double)


def _of_bits(bits: int) -> Fraction:
    if bits == INFINITE:
        return Fraction(1 << 128)
    return Fraction(struct.unpack("<f", struct.pack("<I", bits))[0])
