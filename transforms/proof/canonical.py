"""One form for equal values, whatever stores them: what the proof compares.

A canonical value is None, bool, int, float, str, bytes, `Number` (decimal), `Moment` (date, time, instant, duration),
`UNKNOWN`, a list, or a dict by field name; a map is a list of pairs in key order. Its bytes are tagged by type and
carry their length, so that no two values share them: NULL is not '', 1 is not '1', -0.0 is not 0.0, every NaN is one.
"""

import re
import struct
import uuid
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any, Final, NamedTuple

SECOND: Final = 1_000_000_000
DAY: Final = 86_400 * SECOND
ISO: Final = re.compile(
    r"(?:([+-]?\d{4,9})-(\d\d)-(\d\d))?(?:[T ]?(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?)?(Z|[+-]\d\d(?::?\d\d){0,2})?"
)


class Number(NamedTuple):
    """unscaled / 10 ** scale; `natural` takes trailing zeros away, so that equal numbers are equal tuples."""

    unscaled: int
    scale: int


class Moment(NamedTuple):
    """`amount` units of `unit` nanoseconds; `kind` is date, time, instant (since 1970, UTC) or duration."""

    kind: str
    amount: int
    unit: int


class Unknown(NamedTuple):
    """A value that stands in a message which the log no longer holds."""


UNKNOWN: Final = Unknown()


def number(unscaled: int, scale: int) -> Number:
    """The number in its one form."""
    if not unscaled:
        return Number(0, 0)
    while unscaled % 10 == 0:
        unscaled, scale = unscaled // 10, scale - 1
    return Number(unscaled, scale)


def natural(value: Any) -> Any:
    """The value with a `Number` in its one form and a `Moment` in its one unit: days for a date, else nanoseconds."""
    if isinstance(value, Number):
        return number(*value)
    if isinstance(value, Moment):
        return moment(value.kind, value.amount * value.unit)
    return value


def moment(kind: str, nanos: int) -> Moment:
    """The moment in its one unit."""
    return Moment(kind, nanos // DAY, DAY) if kind == "date" else Moment(kind, nanos, 1)


def encode(value: Any) -> bytes:
    """The canonical bytes of one canonical value."""
    return _ENCODERS[type(value)](value)


def shown(value: Any) -> Any:
    """A canonical value for people and JSON."""
    if isinstance(value, Unknown):
        return "(in a message that is gone)"
    if isinstance(value, Number):
        return _shown_number(value)
    if isinstance(value, Moment):
        return _shown_moment(value)
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return str(value)
    if isinstance(value, list):
        return [shown(item) for item in value]
    if isinstance(value, dict):
        return {name: shown(item) for name, item in value.items()}
    return value


def parse_time(text: str, kind: str) -> Moment | None:
    """ISO 8601 text as a canonical date, time or instant (without a zone: UTC); None where it is none."""
    found = ISO.fullmatch(text.strip())
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    if (year is None) != (kind == "time") or (kind == "time" and hour is None):
        return None
    nanos = (int(hour or 0) * 3600 + int(minute or 0) * 60 + int(second or 0)) * SECOND
    nanos += int((fraction or "0").ljust(9, "0")) - _zone(zone or "Z") * SECOND
    if kind == "time":
        return moment(kind, nanos % DAY if zone else nanos)
    if not 1 <= int(month) <= 12:
        return None
    days = _days(int(year), int(month), int(day))
    following = _days(int(year) + int(month) // 12, int(month) % 12 + 1, 1)
    if not 1 <= int(day) <= 31 or days >= following:
        return None
    return moment(kind, days * DAY if kind == "date" else days * DAY + nanos)


def _days(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 in the proleptic Gregorian calendar (Hinnant, days_from_civil)."""
    year -= month <= 2
    era, of_era = divmod(year, 400)
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468


def _zone(text: str) -> int:
    if text == "Z":
        return 0
    digits = text[1:].replace(":", "").ljust(6, "0")
    seconds = int(digits[:2]) * 3600 + int(digits[2:4]) * 60 + int(digits[4:6])
    return -seconds if text[0] == "-" else seconds


def _shown_number(value: Number) -> str:
    """In plain digits, all those of its scale, as BigDecimal.toPlainString writes them."""
    unscaled, scale = value
    if scale < 0:
        unscaled, scale = unscaled * 10**-scale, 0
    if abs(unscaled) >= 10**4000:
        return f"{unscaled:x} (hexadecimal) / 10^{scale}"
    digits = f"{abs(unscaled):0{scale + 1}d}"
    text = f"{digits[:-scale]}.{digits[-scale:]}" if scale else digits
    return f"-{text}" if unscaled < 0 else text


def _shown_moment(value: Moment) -> str:
    nanos = value.amount * value.unit
    days, rest = divmod(nanos, DAY)
    clock = f"{rest // (3600 * SECOND):02d}:{rest // (60 * SECOND) % 60:02d}:{rest // SECOND % 60:02d}"
    clock += f".{rest % SECOND:09d}".rstrip("0") if rest % SECOND else ""
    if value.kind == "duration":
        return f"{nanos} ns"
    if value.kind == "time":
        return clock
    day = str(date(1970, 1, 1) + timedelta(days)) if -719162 <= days <= 2932896 else f"day {days}"
    return day if value.kind == "date" else f"{day} {clock}"


def _sized(mark: bytes, body: bytes) -> bytes:
    return b"%b%d:%b" % (mark, len(body), body)


def _encode_float(value: float) -> bytes:
    return b"f" + struct.pack(">d", value if value == value else float("nan"))


def _encode_list(value: list[Any]) -> bytes:
    return b"l%d:" % len(value) + b"".join([encode(item) for item in value])


def _encode_dict(value: dict[str, Any]) -> bytes:
    return b"r%d:" % len(value) + b"".join(
        [_sized(b"k", name.encode()) + encode(value[name]) for name in sorted(value)]
    )


_ENCODERS: Final[dict[type, Callable[[Any], bytes]]] = {
    type(None): lambda value: b"n",
    bool: lambda value: b"b1" if value else b"b0",
    int: lambda value: b"i%x;" % value,
    float: _encode_float,
    str: lambda value: _sized(b"s", value.encode("utf-8", "surrogatepass")),
    bytes: lambda value: _sized(b"y", value),
    Number: lambda value: b"d%x,%x;" % value,
    Unknown: lambda value: b"?",
    Moment: lambda value: b"%b%x;" % (value.kind[:2].encode(), value.amount * value.unit),
    list: _encode_list,
    dict: _encode_dict,
    uuid.UUID: lambda value: _sized(b"s", str(value).encode()),
}
