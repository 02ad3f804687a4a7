"""What Avro's logical types and the names of Kafka Connect and Debezium mean, as the proof reads them.

A `connect.name` counts before a `logicalType`. Values that no target has (a time beyond the day, a decimal with more
digits than declared) are the business of `unrepresentable`.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from .canonical import DAY, SECOND, Moment, parse_time

MILLI: Final = SECOND // 1000
MICRO: Final = 1_000
CONNECT_DECIMAL: Final = "org.apache.kafka.connect.data.Decimal"
UNKNOWN_PRECISION: Final = 64
"""What Confluent's converter writes where Connect's decimal has no precision."""
MOST_DIGITS: Final = 76
MOST_DIGITS_OF_128_BITS: Final = 38
MAX_SCALE: Final = 20_000
MAX_DECIMAL: Final = 65_536
WHOLE: Final = re.compile(r"-?[0-9]{1,9}(\.0+)?")
VARIABLE_DECIMAL: Final = "io.debezium.data.VariableScaleDecimal"
ZONED: Final = "io.debezium.time.ZonedTimestamp"
ZONED_TEXT: Final = re.compile(
    r"[+-]?\d{4,9}-\d\d-\d\dT([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d(:\d\d)?)"
)
IN_UTC: Final = frozenset(
    {"timestamp-millis", "timestamp-micros", "timestamp-nanos", "org.apache.kafka.connect.data.Timestamp"}
)
MOMENTS: Final[Mapping[tuple[str, str], tuple[str, int]]] = {
    ("date", "int"): ("date", DAY),
    ("time-millis", "int"): ("time", MILLI),
    ("time-micros", "long"): ("time", MICRO),
    ("timestamp-millis", "long"): ("instant", MILLI),
    ("timestamp-micros", "long"): ("instant", MICRO),
    ("timestamp-nanos", "long"): ("instant", 1),
    ("local-timestamp-millis", "long"): ("instant", MILLI),
    ("local-timestamp-micros", "long"): ("instant", MICRO),
    ("local-timestamp-nanos", "long"): ("instant", 1),
    ("org.apache.kafka.connect.data.Date", "int"): ("date", DAY),
    ("org.apache.kafka.connect.data.Time", "int"): ("time", MILLI),
    ("org.apache.kafka.connect.data.Timestamp", "long"): ("instant", MILLI),
    ("io.debezium.time.Date", "int"): ("date", DAY),
    ("io.debezium.time.Time", "int"): ("time", MILLI),
    ("io.debezium.time.MicroTime", "long"): ("time", MICRO),
    ("io.debezium.time.NanoTime", "long"): ("time", 1),
    ("io.debezium.time.Timestamp", "long"): ("instant", MILLI),
    ("io.debezium.time.MicroTimestamp", "long"): ("instant", MICRO),
    ("io.debezium.time.NanoTimestamp", "long"): ("instant", 1),
    ("io.debezium.time.MicroDuration", "long"): ("duration", MICRO),
    ("io.debezium.time.NanoDuration", "long"): ("duration", 1),
}


def moment_of(schema: Mapping[str, Any]) -> tuple[str, int] | None:
    """Kind and unit (nanoseconds) of a number that is a date, time, instant or duration."""
    for label in (schema.get("connect.name"), schema.get("logicalType")):
        if isinstance(label, str) and (label, schema["type"]) in MOMENTS:
            return MOMENTS[label, schema["type"]]
    return None


def zone_of(schema: Mapping[str, Any]) -> str:
    """What stands behind the text of its instants: `Z` where they are in UTC."""
    names = (schema.get("connect.name"), schema.get("logicalType"))
    known = next((name for name in names if isinstance(name, str) and (name, schema["type"]) in MOMENTS), None)
    return "Z" if known in IN_UTC else ""


def decimal_of(schema: Mapping[str, Any]) -> tuple[int | None, int] | None:
    """Digits (None: any number) and scale of bytes that are a decimal."""
    if schema["type"] not in ("bytes", "fixed"):
        return None
    if schema.get("logicalType") != "decimal" and schema.get("connect.name") != CONNECT_DECIMAL:
        return None
    parameters = schema.get("connect.parameters")
    parameters = parameters if isinstance(parameters, dict) else {}
    scale = next((found for part in (schema, parameters) if (found := whole(part.get("scale"))) is not None), 0)
    digits = whole(parameters.get("connect.decimal.precision"))
    if digits is None:
        digits = whole(schema.get("precision"))
        if schema.get("connect.name") == CONNECT_DECIMAL and digits == UNKNOWN_PRECISION:
            digits = None
    digits = max(MOST_DIGITS_OF_128_BITS if digits is None or digits < 1 else digits, scale)
    if scale >= 0 and digits <= MOST_DIGITS:
        return digits, scale
    if abs(scale) > MAX_SCALE or (schema["type"] == "fixed" and schema["size"] > MAX_DECIMAL):
        return None
    return None, scale


def whole(value: Any) -> int | None:
    """A whole number, also one that is written as 2.0 or as text; None for what is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and WHOLE.fullmatch(value):
        return int(value.partition(".")[0])
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return int(value)
    return None


def zoned(text: str) -> Moment | None:
    """Debezium's ZonedTimestamp in microseconds, further digits cut off; None for text that is none."""
    if ZONED_TEXT.fullmatch(text) is None:
        return None
    found = parse_time(text, "instant")
    if found is None:
        return None
    return Moment("instant", found.amount // MICRO, MICRO)
