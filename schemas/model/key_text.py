"""Keys as text: those that are arrays, maps or records, and those that Debezium's headers name in JSON."""

import base64
import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import numpy as np
import pyarrow as pa

from .json_texts import json_texts

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
TICKS: Final = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
MOST_DIGITS: Final = 100_000
NO_NUMBERS: Final = ("NaN", "Infinity", "-Infinity")
"""What JSON has no number for: Connect writes it as text."""
NAN: Final = "NaN"
"""NaN is not equal to itself, and two rows of that key are one."""


def nested_as_text(array: pa.Array) -> pa.Array:
    """A key column as every target can have it: an array, map or record becomes JSON, another column stays as it is.

    One value has one text: names are sorted, bytes are base64, decimals and times are text.
    """
    if not pa.types.is_nested(array.type):
        return array
    kind = array.type
    texts = json_texts(array)
    if texts is None:
        texts = pa.array([None if value is None else _json(_plain(value, kind)) for value in array.to_pylist()])
    return texts.cast(pa.string())


def _plain(value: Any, kind: pa.DataType) -> Any:
    if value is None:
        return None
    if pa.types.is_struct(kind):
        return {field.name: _plain(value[field.name], field.type) for field in kind}
    if pa.types.is_map(kind):
        return {str(name): _plain(item, kind.item_type) for name, item in value}
    if pa.types.is_nested(kind):
        return [_plain(item, kind.value_type) for item in value]
    return f"{value:f}" if isinstance(value, Decimal) else comparable(value, kind)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def comparable(value: Any, kind: pa.DataType) -> Any:
    """A key's value of Arrow's type `kind`, as `from_header` gives it: numbers of their unit for dates and times."""
    if value is None:
        return None
    if pa.types.is_temporal(kind):
        return pa.scalar(value, kind).cast(pa.int32() if kind.bit_width == 32 else pa.int64()).as_py()
    if pa.types.is_nested(kind):
        return _json(_plain(value, kind))
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return NAN if isinstance(value, float) and math.isnan(value) else value


def from_header(value: Any, kind: pa.DataType) -> Any:
    """A key's value as Connect's JSON converter writes it, as one of Arrow's `kind`; as it is where it is none.

    Decimals stand there as numbers, as text, or as the bytes of the unscaled number in base64; `numeric` without a
    scale as {"scale": 1, "value": "Dw=="}; instants as text or as numbers of their unit.
    """
    if isinstance(value, (list, Mapping)) or pa.types.is_nested(kind):
        plain = _unwrapped(value)
        return plain if isinstance(plain, str) else _json(plain)
    if pa.types.is_decimal(kind):
        return _decimal(value, kind.scale)
    if pa.types.is_timestamp(kind) and isinstance(value, str):
        return _instant(value, kind)
    if pa.types.is_floating(kind) and (isinstance(value, (int, float, Decimal)) or value in NO_NUMBERS):
        number = float(np.float32(value)) if kind.bit_width == 32 else float(value)
        return NAN if math.isnan(number) else number
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value


def _unwrapped(value: Any) -> Any:
    """JSON with each {"scale", "value"} as the decimal's text."""
    if isinstance(value, list):
        return [_unwrapped(item) for item in value]
    if not isinstance(value, Mapping):
        return float(value) if isinstance(value, Decimal) else value
    if set(value) == {"scale", "value"} and isinstance(value["value"], str):
        scale = value["scale"]
        number = _unscaled(value["value"])
        if isinstance(scale, int) and abs(scale) <= MOST_DIGITS and number is not None:
            return f"{Decimal(number) if not scale else _shifted(number, scale):f}"
    return {name: _unwrapped(item) for name, item in value.items()}


def _decimal(value: Any, scale: int) -> Any:
    try:
        if isinstance(value, (int, Decimal)):
            return Decimal(value)
        if isinstance(value, str):
            number = _unscaled(value)
            return Decimal(value) if number is None else _shifted(number, scale)
    except InvalidOperation:
        return value
    return value


def _shifted(number: int, scale: int) -> Decimal:
    sign, digits, _ = Decimal(number).as_tuple()
    return Decimal((sign, digits, -scale))


def _unscaled(text: str) -> int | None:
    """The number whose bytes the base64 text is; None for other text."""
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    return int.from_bytes(raw, "big", signed=True) if raw else None


def _instant(text: str, kind: pa.DataType) -> Any:
    """Ticks since 1970 of ISO 8601 text, digits beyond microseconds cut off; the text where it is none."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return text
    micros = (found.replace(tzinfo=found.tzinfo or UTC) - EPOCH) // (EPOCH.resolution)
    return micros * TICKS[kind.unit] // TICKS["us"]


def in_header(value: Any, kind: pa.DataType) -> Any:
    """As Connect's JSON has it, which the merging reads: a decimal is its unscaled number in base64."""
    if not isinstance(value, Decimal):
        return comparable(value, kind)
    sign, digits, _ = value.as_tuple()
    unscaled = int("".join(map(str, digits))) * (-1 if sign else 1)
    return base64.b64encode(unscaled.to_bytes(kind.bit_width // 8, "big", signed=True)).decode()
