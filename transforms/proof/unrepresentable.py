"""Values that no target's type has, as the proof reads them: what a row shows in their place, and their text.

Every target keeps the years 1 to 9999 and times of day below 24:00. The rule is the job's, the code is not.
"""

import json
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from typing import Any, Final, NamedTuple

from ...schemas.model.unrepresentable import OnUnrepresentable, text_name
from .canonical import DAY, SECOND, Moment, Number, shown

EPOCH: Final = date(1970, 1, 1)
CYCLE: Final = 146_097
"""Days of 400 years, after which the calendar is the same again."""
FIRST, LAST = (date.min - EPOCH).days, (date.max - EPOCH).days

Convert = Callable[[Any], Any]


class Noted(NamedTuple):
    """A value that its column cannot hold: what stands there instead, and the exact text."""

    value: Any
    text: str


def moment_reader(kind: str, unit: int, zone: str, policy: OnUnrepresentable) -> Convert:
    """A function from numbers of `unit` nanoseconds to moments; to text, or `Noted`, as `policy` says."""
    bounds = _bounds(kind, unit)
    if bounds is None:
        return lambda value: Moment(kind, value, unit)
    least, most = bounds

    def convert(value: int) -> Any:
        if policy is OnUnrepresentable.TEXT:
            return _written(kind, value * unit, zone)
        if least <= value <= most:
            return Moment(kind, value, unit)
        if policy is OnUnrepresentable.CLAMP:
            return Moment(kind, least if value < least else most, unit)
        return Noted(None, _written(kind, value * unit, zone))

    return convert


def zoned_reader(read: Callable[[str], Moment | None], policy: OnUnrepresentable) -> Convert:
    """A function from Debezium's ZonedTimestamp to instants; to text, or `Noted`, as `policy` says."""
    least, most = _bounds("instant", 1_000) or (0, 0)

    def convert(text: str) -> Any:
        found = read(text)
        if found is not None and least <= found.amount <= most:
            return _written("instant", found.amount * 1_000, "Z") if policy is OnUnrepresentable.TEXT else found
        if policy is OnUnrepresentable.TEXT:
            return text
        if policy is OnUnrepresentable.CLAMP:
            year = (text[1:] if text[:1] in ("+", "-") else text).partition("-")[0]
            low = text.startswith("-") or year == "0000"
            if year == "infinity" or (len(year) >= (4 if low else 5) and year.isdigit() and year.isascii()):
                return Moment("instant", least if low else most, 1_000)
        return Noted(None, text)

    return convert


def decimal_reader(digits: int | None, scale: int, policy: OnUnrepresentable) -> Convert:
    """A function from bytes to decimals of at most so many digits (None: any number), or `Noted`."""

    def convert(value: bytes) -> Any:
        found = Number(int.from_bytes(value, "big", signed=True), scale)
        if digits is None or abs(found.unscaled) < 10**digits:
            return found
        if policy is OnUnrepresentable.CLAMP:
            most = 10**digits - 1
            return Number(-most if found.unscaled < 0 else most, scale)
        return Noted(None, shown(found))

    return convert


def settled(row: dict[str, Any], policy: OnUnrepresentable) -> Any:
    """A record whose fields may be `Noted`: texts stand in fields beside; it is `Noted` itself where they cannot."""
    texts = {name: value.text for name, value in row.items() if isinstance(value, Noted)}
    if not texts:
        return row
    plain = {name: value.value if isinstance(value, Noted) else value for name, value in row.items()}
    refused = {name: text for name, text in texts.items() if _refused(name, row, policy)}
    beside = {text_name(name): text for name, text in texts.items() if name not in refused}
    if refused:
        return Noted(plain | beside, next(f"{name}: {text}" for name, text in refused.items()))
    return plain | beside


def settled_items(items: list[Any]) -> Any:
    """A list whose items may be `Noted`; it is `Noted` itself then, with their texts by place."""
    texts = {str(place): item.text for place, item in enumerate(items) if isinstance(item, Noted)}
    if not texts:
        return items
    return Noted([item.value if isinstance(item, Noted) else item for item in items], _json(texts))


def settled_entries(entries: dict[str, Any]) -> Any:
    """A map whose values may be `Noted`; it is `Noted` itself then, with their texts by key."""
    texts = {key: item.text for key, item in entries.items() if isinstance(item, Noted)}
    if not texts:
        return entries
    return Noted({k: item.value if isinstance(item, Noted) else item for k, item in entries.items()}, _json(texts))


def _refused(name: str, row: Mapping[str, Any], policy: OnUnrepresentable) -> bool:
    return policy is OnUnrepresentable.DEAD_LETTER or text_name(name) in row


def _json(texts: dict[str, str]) -> str:
    return json.dumps(texts, ensure_ascii=False)


def _bounds(kind: str, unit: int) -> tuple[int, int] | None:
    if kind == "date":
        return FIRST, LAST
    if kind == "time":
        return 0, DAY // unit - 1
    if kind == "instant" and unit > 1:
        return FIRST * DAY // unit, (LAST + 1) * DAY // unit - 1
    return None


def _written(kind: str, nanos: int, zone: str) -> str:
    """ISO 8601 text in any year, of the calendar's cycle of 400 years; a time of day may be negative or long."""
    if kind == "time":
        return ("-" if nanos < 0 else "") + _clock(abs(nanos))
    days, rest = divmod(nanos, DAY)
    cycles, place = divmod(days - FIRST, CYCLE)
    found = date.min + timedelta(place)
    year = found.year + 400 * cycles
    sign = "-" if year < 0 else "+" if year > 9999 else ""
    day = f"{sign}{abs(year):04}-{found:%m-%d}"
    return day if kind == "date" else f"{day}T{_clock(rest)}{zone}"


def _clock(nanos: int) -> str:
    seconds, fraction = divmod(nanos, SECOND)
    minutes, second = divmod(seconds, 60)
    text = f"{minutes // 60:02}:{minutes % 60:02}:{second:02}"
    return f"{text}.{fraction:09}".rstrip("0") if fraction else text
