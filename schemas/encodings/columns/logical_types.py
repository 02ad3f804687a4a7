"""The Arrow type a person expects: Avro's logical types, Kafka Connect's and Debezium's names.

Sources: Avro 1.12 specification, "Logical Types"; `io.debezium.time`, `io.debezium.data`; Confluent's AvroData. A
logical type that does not fit its underlying type, or that nobody knows, is ignored, as the specification says. Dates
and times are decoded whatever their number is: `schemas.model.representable` deals with those that no target has.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

import pyarrow as pa

from .decimals import MAX_BYTES, MAX_PRECISION, MAX_SCALE
from .layout import BOOLEAN, BYTES, DECIMAL, DOUBLE, FIXED, FLOAT, INTEGER, STRING
from .layout import ZONED as ZONED_TEXT
from .types import Type

INT: Final = (-(1 << 31), (1 << 31) - 1)
LONG: Final = (-(1 << 63), (1 << 63) - 1)

_NUMBER: Final = re.compile(r"-?[0-9]{1,9}(\.0+)?")

DEFAULT_PRECISION: Final = 38
_UNKNOWN_PRECISION: Final = 64
"""What Confluent's converter writes as the precision of a Connect decimal that has none."""
ZONED: Final = "io.debezium.time.ZonedTimestamp"
VARIABLE_SCALE: Final = "io.debezium.data.VariableScaleDecimal"
CONNECT_DECIMAL: Final = "org.apache.kafka.connect.data.Decimal"


class Form(Enum):
    """How a column is made of its slots."""

    WORD = auto()
    ZONED = auto()
    HALF = auto()
    BOOLEAN = auto()
    SPAN = auto()
    FIXED = auto()
    ENUM = auto()
    DECIMAL = auto()
    DECIMAL_TEXT = auto()
    UUID = auto()
    DURATION = auto()
    NULL = auto()
    STRUCT = auto()
    LIST = auto()
    MAP = auto()
    JSON = auto()
    MADE = auto()


@dataclass(frozen=True, slots=True)
class Scalar:
    """How one value is read (operation and its arguments) and written (slots, form, Arrow type)."""

    op: int
    form: Form
    arrow: pa.DataType
    slots: int = 1
    a: int = 0
    b: int = 0
    what: str = ""
    scale: int = 0


def _integer(arrow: pa.DataType, bounds: tuple[int, int], what: str) -> Scalar:
    form = Form.HALF if arrow.bit_width == 32 else Form.WORD
    return Scalar(INTEGER, form, arrow, 1, *bounds, what)


_DATE: Final = _integer(pa.date32(), INT, "a date")
_TIME_MS: Final = _integer(pa.time32("ms"), INT, "a time")
_TIME_US: Final = _integer(pa.time64("us"), LONG, "a time")
_TIME_NS: Final = _integer(pa.time64("ns"), LONG, "a time")
_DURATION: Final = pa.struct([("months", pa.uint32()), ("days", pa.uint32()), ("millis", pa.uint32())])

_PLAIN: Final[Mapping[str, Scalar]] = {
    "boolean": Scalar(BOOLEAN, Form.BOOLEAN, pa.bool_(), 1, 1, 0, "a boolean (0 or 1)"),
    "int": _integer(pa.int32(), INT, "an int"),
    "long": _integer(pa.int64(), LONG, "a long"),
    "float": Scalar(FLOAT, Form.HALF, pa.float32(), 1, 4, 0, "a float"),
    "double": Scalar(DOUBLE, Form.WORD, pa.float64(), 1, 8, 0, "a double"),
    "bytes": Scalar(BYTES, Form.SPAN, pa.binary(), 2, LONG[1], 0, "bytes"),
    "string": Scalar(STRING, Form.SPAN, pa.string(), 2, 0, 0, "a string"),
}


def _instant(unit: str, zone: str | None) -> Scalar:
    return _integer(pa.timestamp(unit, zone), LONG, "a timestamp")


_LOGICAL: Final[Mapping[tuple[str, str], Scalar]] = {
    ("date", "int"): _DATE,
    ("time-millis", "int"): _TIME_MS,
    ("time-micros", "long"): _TIME_US,
    ("timestamp-millis", "long"): _instant("ms", "UTC"),
    ("timestamp-micros", "long"): _instant("us", "UTC"),
    ("timestamp-nanos", "long"): _instant("ns", "UTC"),
    ("local-timestamp-millis", "long"): _instant("ms", None),
    ("local-timestamp-micros", "long"): _instant("us", None),
    ("local-timestamp-nanos", "long"): _instant("ns", None),
}

_NAMED: Final[Mapping[tuple[str, str], Scalar]] = {
    ("io.debezium.time.Date", "int"): _DATE,
    ("io.debezium.time.Time", "int"): _TIME_MS,
    ("io.debezium.time.MicroTime", "long"): _TIME_US,
    ("io.debezium.time.NanoTime", "long"): _TIME_NS,
    ("io.debezium.time.Timestamp", "long"): _instant("ms", None),
    ("io.debezium.time.MicroTimestamp", "long"): _instant("us", None),
    ("io.debezium.time.NanoTimestamp", "long"): _instant("ns", None),
    ("io.debezium.time.MicroDuration", "long"): _integer(pa.duration("us"), LONG, "a duration"),
    ("io.debezium.time.NanoDuration", "long"): _integer(pa.duration("ns"), LONG, "a duration"),
    (ZONED, "string"): Scalar(ZONED_TEXT, Form.ZONED, pa.timestamp("us", "UTC"), 1, 0, 0, "an instant"),
    ("org.apache.kafka.connect.data.Date", "int"): _DATE,
    ("org.apache.kafka.connect.data.Time", "int"): _TIME_MS,
    ("org.apache.kafka.connect.data.Timestamp", "long"): _instant("ms", "UTC"),
}


def scalar(kind: Type) -> Scalar:
    """How a type that holds one value is decoded; an enum's `what` names it."""
    logical = kind.attributes.get("logicalType")
    if (kind.kind == "bytes" or kind.size) and (logical == "decimal" or kind.connect_name == CONNECT_DECIMAL):
        return _decimal(kind)
    known = _NAMED.get((kind.connect_name or "", kind.kind))
    if known is None and isinstance(logical, str):
        known = _LOGICAL.get((logical, kind.kind))
    if known is not None:
        return known
    if kind.kind == "enum":
        symbols = len(kind.names)
        return Scalar(INTEGER, Form.ENUM, pa.string(), 1, 0, symbols - 1, f"enum {kind.name} of {symbols} symbols")
    if kind.kind == "fixed":
        return _fixed(kind, logical)
    return _PLAIN[kind.kind]


def is_variable_decimal(kind: Type) -> bool:
    """Whether a record is Debezium's decimal that carries its own scale."""
    parts = {name: child.kind for name, child in zip(kind.names, kind.children, strict=True)}
    return kind.connect_name == VARIABLE_SCALE and parts == {"scale": "int", "value": "bytes"}


def _fixed(kind: Type, logical: Any) -> Scalar:
    what = f"{kind.size} bytes"
    if logical == "uuid" and kind.size == 16:
        return Scalar(FIXED, Form.UUID, pa.string(), 2, 16, 0, what)
    if logical == "duration" and kind.size == 12:
        return Scalar(FIXED, Form.DURATION, _DURATION, 2, 12, 0, what)
    if kind.size == 0:
        return Scalar(FIXED, Form.SPAN, pa.binary(), 2, 0, 0, what)
    return Scalar(FIXED, Form.FIXED, pa.binary(kind.size), 2, kind.size, 0, what)


def _decimal(kind: Type) -> Scalar:
    """decimal128 or decimal256; exact text where the scale is negative or there are more than 76 digits."""
    precision, scale = _precision(kind), _whole(kind.attributes.get("scale"))
    if scale is None:
        scale = _whole(_parameters(kind).get("scale")) or 0
    size = kind.size if kind.kind == "fixed" else -1
    if scale < 0 or max(precision, scale) > MAX_PRECISION:
        if abs(scale) > MAX_SCALE or size > MAX_BYTES:
            return _fixed(kind, None) if kind.kind == "fixed" else _PLAIN["bytes"]
        op, limit = (BYTES, MAX_BYTES) if size < 0 else (FIXED, size)
        return Scalar(op, Form.DECIMAL_TEXT, pa.string(), 2, limit, 0, "a decimal", scale)
    precision = max(precision, scale)
    arrow = pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)
    slots = arrow.bit_width // 64
    return Scalar(DECIMAL, Form.DECIMAL, arrow, slots, size, precision, f"a decimal of {precision} digits")


def _precision(kind: Type) -> int:
    given = _whole(_parameters(kind).get("connect.decimal.precision"))
    if given is None:
        given = _whole(kind.attributes.get("precision"))
        if kind.connect_name == CONNECT_DECIMAL and given == _UNKNOWN_PRECISION:
            return DEFAULT_PRECISION
    return given if given is not None and given >= 1 else DEFAULT_PRECISION


def _parameters(kind: Type) -> Mapping[str, Any]:
    parameters = kind.attributes.get("connect.parameters")
    return parameters if isinstance(parameters, dict) else {}


def _whole(value: Any) -> int | None:
    """A whole number, also as text or as 2.0, or None."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return int(float(value))
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def field_metadata(kind: Type) -> dict[bytes, bytes] | None:
    """What an Arrow field says beside its type: Kafka Connect's name."""
    branches = [branch for branch in kind.children if branch.kind != "null"] if kind.kind == "union" else [kind]
    name = branches[0].connect_name if len(branches) == 1 else None
    return None if name is None else {b"connect.name": name.encode(errors="backslashreplace")}
