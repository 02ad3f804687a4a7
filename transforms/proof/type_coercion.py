"""Where stream and target meet: values of both in the canonical form that the target's column type calls for.

The two may store a value in different types (a timestamp in another unit, a duration as a number). The target's Arrow
type decides: `from_stream` takes a stream's value there where that loses nothing, and leaves it as it is, and so
unequal, where it would.
"""

import base64
import json
import re
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

import pyarrow as pa

from .canonical import DAY, SECOND, Moment, Number, encode, moment, natural, number, parse_time, shown

UNITS: Final = {"s": SECOND, "ms": 1_000_000, "us": 1_000, "ns": 1}

Cast = Callable[[Any], Any]


def from_stream(kind: pa.DataType) -> Cast:
    """What takes a stream's value to the canonical form that a column of this type has."""
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if _is_list(kind):
        item = from_stream(kind.value_type)
        return lambda value: [item(part) for part in value] if isinstance(value, list) else value
    if pa.types.is_map(kind):
        key, item = from_stream(kind.key_type), from_stream(kind.item_type)
        return lambda value: (
            _pairs([[key(name), item(part)] for name, part in value.items()]) if isinstance(value, dict) else value
        )
    if pa.types.is_struct(kind):
        casts = {field.name: from_stream(field.type) for field in kind}
        return lambda value: _struct(casts, value) if isinstance(value, dict) else value
    for matches, cast in _CASTS:
        if matches(kind):
            return cast
    return natural


def from_target(array: pa.Array) -> list[Any]:
    """The canonical values of a target's column."""
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return from_target(array.storage)
    if pa.types.is_dictionary(kind):
        return from_target(array.dictionary_decode())
    if _is_list(kind) or pa.types.is_map(kind) or pa.types.is_struct(kind):
        return _nested(array)
    if pa.types.is_decimal(kind):
        return [None if value is None else _decimal(value) for value in array.to_pylist()]
    stored = _moment_kind(kind)
    if stored is not None:
        name, unit = stored
        counts = array.cast(pa.int32() if array.type.bit_width == 32 else pa.int64()).to_pylist()
        return [None if count is None else moment(name, count * unit) for count in counts]
    if kind == pa.month_day_nano_interval():
        return [None if value is None else _interval(value) for value in array.to_pylist()]
    return array.to_pylist()


def _nested(array: pa.Array) -> list[Any]:
    kind, valid = array.type, array.is_valid().to_pylist()
    if pa.types.is_struct(kind):
        fields = {field.name: from_target(array.field(index)) for index, field in enumerate(kind)}
        return [{name: fields[name][row] for name in fields} if valid[row] else None for row in range(len(array))]
    if pa.types.is_fixed_size_list(kind) or "view" in str(kind):
        array = array.cast(pa.large_list(kind.value_type))
    offsets = array.offsets.to_pylist()
    if pa.types.is_map(kind):
        keys, items = from_target(array.keys), from_target(array.items)
        return [
            _pairs([[keys[at], items[at]] for at in range(offsets[row], offsets[row + 1])]) if valid[row] else None
            for row in range(len(array))
        ]
    values = from_target(array.values)
    return [values[offsets[row] : offsets[row + 1]] if valid[row] else None for row in range(len(array))]


def _pairs(pairs: list[list[Any]]) -> list[list[Any]]:
    return sorted(pairs, key=lambda pair: encode(pair[0]))


def _struct(casts: dict[str, Cast], value: dict[str, Any]) -> dict[str, Any]:
    known = {name: cast(value.get(name)) for name, cast in casts.items()}
    more = {name: natural(part) for name, part in value.items() if name not in casts and part is not None}
    return {**known, **more}


def _to_text(value: Any) -> Any:
    """Text of decimals that no Arrow type holds, all digits of their scale, and of keys that are arrays or records."""
    if isinstance(value, (list, dict)):
        return json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":"), sort_keys=True, default=_in_json)
    return shown(value) if isinstance(value, Number) else natural(value)


def _plain(value: Any) -> Any:
    if isinstance(value, Number):
        return shown(value)
    if isinstance(value, Moment):
        return value.amount
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list) else value


def _in_json(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _to_integer(value: Any) -> Any:
    if isinstance(value, Moment):
        return value.amount
    if isinstance(value, Number):
        value = natural(value)
        return value.unscaled * 10**-value.scale if -80 < value.scale <= 0 else value
    return value


def _to_float(value: Any) -> Any:
    if type(value) is int and abs(value) < 1 << 1000 and int(float(value)) == value:
        return float(value)
    return value


def _to_number(value: Any) -> Any:
    return number(value, 0) if type(value) is int else natural(value)


def _to_binary(value: Any) -> Any:
    return value.encode() if isinstance(value, str) else value


def _to_fixed(value: Any) -> Any:
    if isinstance(value, str) and re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", value):
        return uuid.UUID(value).bytes
    return value


def _to_moment(kind: str) -> Cast:
    def cast(value: Any) -> Any:
        if isinstance(value, str):
            return parse_time(value, kind) or value
        if isinstance(value, Moment) and {value.kind, kind} == {"date", "instant"}:
            nanos = value.amount * value.unit
            return moment(kind, nanos) if nanos % DAY == 0 else natural(value)
        return natural(value)

    return cast


def _decimal(value: Decimal) -> Number:
    sign, digits, exponent = value.as_tuple()
    unscaled = int("".join(map(str, digits)))
    return number(-unscaled if sign else unscaled, -int(exponent))


def _interval(value: Any) -> Any:
    if value.months:
        return [value.months, value.days, value.nanoseconds]
    return moment("duration", value.days * DAY + value.nanoseconds)


def _moment_kind(kind: pa.DataType) -> tuple[str, int] | None:
    if pa.types.is_date32(kind):
        return "date", DAY
    if pa.types.is_date64(kind):
        return "date", UNITS["ms"]
    if pa.types.is_time(kind):
        return "time", UNITS[kind.unit]
    if pa.types.is_timestamp(kind):
        return "instant", UNITS[kind.unit]
    if pa.types.is_duration(kind):
        return "duration", UNITS[kind.unit]
    return None


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind) or (
        pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind)
    )  # fmt: skip


_CASTS: Final[tuple[tuple[Callable[[pa.DataType], bool], Cast], ...]] = (
    (pa.types.is_string, _to_text),
    (pa.types.is_large_string, _to_text),
    (pa.types.is_string_view, _to_text),
    (pa.types.is_integer, _to_integer),
    (pa.types.is_floating, _to_float),
    (pa.types.is_decimal, _to_number),
    (pa.types.is_fixed_size_binary, _to_fixed),
    (pa.types.is_binary, _to_binary),
    (pa.types.is_large_binary, _to_binary),
    (pa.types.is_date, _to_moment("date")),
    (pa.types.is_time, _to_moment("time")),
    (pa.types.is_timestamp, _to_moment("instant")),
)
