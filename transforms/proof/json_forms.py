"""Declared types, as the proof reads their forms of JSON; nothing here is the job's."""

import base64
import binascii
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from ...schemas.model.declared_type import DeclaredType
from .avro_validator import Malformed
from .json_reader import Members, Real, float_of
from .rules import Rules

NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
WHOLE: Final = re.compile(r"-?(0|[1-9][0-9]*)")
CLOCK: Final = re.compile(r"(\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?")
DAY: Final = re.compile(r"\d{4}-\d\d-\d\d")
NANOS: Final = {"ms": 1_000_000, "us": 1_000, "ns": 1}
NAMES: Final = {"ms": "", "us": "Micro", "ns": "Nano"}
MOST_MICROS: Final = 60_000_000_000_000_000
BITS: Final = {"int8": 8, "int16": 16, "int32": 32, "int64": 64}
DECIMAL: Final = "org.apache.kafka.connect.data.Decimal"
Made = tuple[Any, Any]


def declared_value(kind: DeclaredType, value: Any, rules: Rules, names: list[int]) -> Made:
    """The Avro type of a declared one, nullable, and the value as fastavro would give it; `names` counts records."""
    avro, read = _type(kind, rules, names)
    return ["null", avro], None if value is None else read(value)


def whole_number(value: Any, bits: int) -> int:
    """A number, or its digits in a text. Raises Malformed."""
    if type(value) is str and WHOLE.fullmatch(value):
        value = int(value) if len(value) < 25 else 1 << 70
    if type(value) is not int or not -(1 << bits - 1) <= value < 1 << bits - 1:
        raise Malformed(f"no whole number of {bits} bits")
    return value


def _type(kind: DeclaredType, rules: Rules, names: list[int]) -> tuple[Any, Callable[[Any], Any]]:
    if kind.item is not None:
        inner, read = _type(kind.item, rules, names)
        return {"type": "array", "items": ["null", inner]}, lambda value: _items(value, read)
    if kind.word in BITS:
        return "long" if kind.word == "int64" else "int", lambda value: whole_number(value, BITS[kind.word])
    if kind.word in ("float32", "float64"):
        single = kind.word == "float32"
        return "float" if single else "double", lambda value: _number(value, single)
    if kind.word == "decimal":
        return _decimal(kind, rules, names)
    if kind.unit or kind.word in ("date", "timestamptz"):
        return _time(kind)
    if kind.word == "binary":
        return "bytes", lambda value: _bytes(value, rules.json_binary)
    if kind.word == "bool":
        return "boolean", lambda value: _of(bool, value)
    return "string", lambda value: _of(str, value)


def _of(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise Malformed(f"no {kind.__name__}")
    return value


def _items(value: Any, read: Callable[[Any], Any]) -> list[Any]:
    return [None if part is None else read(part) for part in _of(list, value)]


def _number(value: Any, single: bool) -> float:
    if type(value) is str and NUMBER.fullmatch(value):
        value = Real(value)
    return float_of(value, single)


def _decimal(kind: DeclaredType, rules: Rules, names: list[int]) -> tuple[Any, Callable[[Any], Any]]:
    precise = rules.json_decimals == "precise"
    if kind.digits:
        parameters = {"scale": str(kind.scale), "connect.decimal.precision": str(kind.digits)}
        avro: Any = {"type": "bytes", "connect.name": DECIMAL, "connect.parameters": parameters}
        avro |= {"logicalType": "decimal", "precision": kind.digits, "scale": kind.scale}
        return avro, lambda value: _unscaled(value, kind, precise)
    if not precise:
        return "string", lambda value: str(value) if type(value) in (int, Real) else _of(str, value)
    names[0] += 1
    fields = [{"name": "scale", "type": "int"}, {"name": "value", "type": "bytes"}]
    named = "io.debezium.data.VariableScaleDecimal"
    return {"type": "record", "name": f"r{names[0]}", "connect.name": named, "fields": fields}, _variable


def _variable(value: Any) -> dict[str, Any]:
    parts = dict(_of(Members, value).pairs)
    scale = parts.get("scale")
    if type(scale) is not int or not -20_000 <= scale <= 20_000:
        raise Malformed("no scale")
    return {"scale": scale, "value": _bytes(parts.get("value"), "base64")}


def _unscaled(value: Any, kind: DeclaredType, precise: bool) -> bytes:
    if precise and type(value) is str:
        return _bytes(value, "base64")
    text = str(value) if type(value) in (int, Real, str) else ""
    if not NUMBER.fullmatch(text):
        raise Malformed("no decimal")
    sign, digits, exponent = Decimal(text).as_tuple()
    shift = kind.scale + int(exponent)
    unscaled = int("".join(map(str, digits)))
    if unscaled and (shift > 200 or shift < -200_000):
        raise Malformed("a decimal beyond its type")
    whole, rest = divmod(unscaled, 10 ** max(-shift, 0)) if unscaled else (0, 0)
    whole *= 10 ** max(shift, 0) if unscaled else 1
    if rest or whole >= 10**kind.digits:
        raise Malformed("a decimal beyond its type")
    whole = -whole if sign else whole
    return whole.to_bytes((whole.bit_length() + 8) // 8, "big", signed=True)


def _bytes(value: Any, form: str) -> bytes:
    text = _of(str, value)
    try:
        if form == "hex":
            if re.fullmatch("(?:[0-9a-fA-F]{2})*", text) is None:
                raise Malformed("no hexadecimal digits")
            return bytes.fromhex(text)
        letters = text.translate(str.maketrans("-_", "+/")) if form == "base64_url" else text
        if form == "base64_url" and ("+" in text or "/" in text):
            raise Malformed("no base64 of URLs")
        made = base64.b64decode(letters, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Malformed(f"no bytes: {error}") from None
    if base64.b64encode(made).decode() != letters:
        raise Malformed("base64 with bits that belong to no byte")
    return made


def _time(kind: DeclaredType) -> tuple[Any, Callable[[Any], Any]]:
    if kind.word == "timestamptz":
        # Texts stay as they are: the rules for them stand with Avro's.
        return {"type": "string", "connect.name": "io.debezium.time.ZonedTimestamp"}, _zoned
    if kind.word == "date":
        return {"type": "int", "connect.name": "io.debezium.time.Date"}, lambda value: _text_or(value, 32, _days)
    bits = 32 if kind.word == "time" and kind.unit == "ms" else 64
    name = {"time": "Time", "timestamp": "Timestamp", "duration": "Duration"}[kind.word]
    unit = NAMES[kind.unit]
    reader = {"time": _clock, "timestamp": _moment}.get(kind.word)
    avro = {"type": "int" if bits == 32 else "long", "connect.name": f"io.debezium.time.{unit}{name}"}
    return avro, lambda value: _text_or(value, bits, None if reader is None else lambda text: reader(text, kind.unit))


def _zoned(value: Any) -> str:
    if type(value) is int:
        if abs(value) > MOST_MICROS:
            raise Malformed("an instant beyond the calendar")
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=value)
        return moment.isoformat().replace("+00:00", "Z")
    return str(_of(str, value))


def _text_or(value: Any, bits: int, read: Callable[[str], int | None] | None) -> int:
    if type(value) is str and read is not None and not WHOLE.fullmatch(value):
        value = read(value)
    return whole_number(value, bits)


def _days(text: str) -> int | None:
    try:
        return (date.fromisoformat(text) - date(1970, 1, 1)).days if DAY.fullmatch(text) else None
    except ValueError:
        return None


def _clock(text: str, unit: str) -> int | None:
    found = CLOCK.fullmatch(text)
    if found is None:
        return None
    hour, minute, second = (int(part or 0) for part in found.groups()[:3])
    fraction = (found[4] or "").ljust(9, "0")
    nanos = int(fraction[:9])
    if hour > 23 or minute > 59 or second > 59 or fraction[9:].strip("0") or nanos % NANOS[unit]:
        return None
    return ((hour * 3600 + minute * 60 + second) * 1_000_000_000 + nanos) // NANOS[unit]


def _moment(text: str, unit: str) -> int | None:
    days, clock = _days(text[:10]), _clock(text[11:], unit)
    if days is None or clock is None or text[10] not in "T ":
        return None
    return days * 86_400_000_000_000 // NANOS[unit] + clock
