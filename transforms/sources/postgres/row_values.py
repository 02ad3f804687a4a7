"""From a value's text to a plain Python value, for the proof. It shares nothing with the decoding of the log."""

import json
import re
import struct
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

DAY: Final = re.compile(r"(\d+)(-\d\d-\d\d)( BC)?")
MOMENT: Final = re.compile(r"(\d+)(-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d+)?)(\+00)?( BC)?")
ZONED: Final = re.compile(r"(\d\d):(\d\d):(\d\d)(\.\d+)?([+-])(\d\d)(?::(\d\d))?(?::(\d\d))?")
PART: Final = re.compile(r"([+-]?\d+) (year|mon|day)s?|([+-]?)(\d+):(\d\d):(\d\d(?:\.\d+)?)")
BOUNDED: Final = re.compile(r"(numeric|bit|bit varying)\((\d+)(?:,(-?\d+))?\)")
MONTH: Final = 2_629_800
"""Seconds of 365.25 / 12 days."""
MILLION: Final = 1_000_000
FARTHEST: Final = (1 << 63) // MILLION

Reader = Callable[[str], Any]


class Unfit(Exception):
    """A value that no target's type has; its text in ISO 8601."""


def reader(kind: str) -> Reader:
    """By the type's name as `format_type` writes it, with its modifier: `numeric(8,2)[]`. Raises Unfit when it reads.

    Days, times and moments stay text (ISO 8601), an interval is a timedelta, a point or shape a dict.
    """
    if kind.endswith("[]"):
        return _items_reader(reader(kind.removesuffix("[]")), ";" if kind == "box[]" else ",")
    bounded = BOUNDED.fullmatch(kind)
    if bounded is not None:
        return _bounded(bounded[1], int(bounded[2]), int(bounded[3] or 0))
    bare = re.sub(r"\(\d+\)", "", kind)
    return READERS.get(bare.rpartition(".")[2] if "." in bare else bare, str)


def _bounded(kind: str, length: int, scale: int) -> Reader:
    if kind == "numeric":
        return _decimal if 0 <= scale <= length <= 76 else str
    return (lambda text: text == "1") if length == 1 else _bits


def _decimal(text: str) -> Decimal:
    value = Decimal(text)
    if not value.is_finite():
        raise Unfit(text)
    return value


def _single(text: str) -> float:
    (value,) = struct.unpack("f", struct.pack("f", float(text)))
    return float(value)


def _bits(text: str) -> bytes:
    number = int(text or "0", 2)
    return number.to_bytes((number.bit_length() + 7) // 8, "little")


def _year(digits: str, before_christ: str | None) -> str:
    """The year as ISO 8601 writes it; raises nothing: what it is of is unfit where a sign stands before it."""
    year = 1 - int(digits) if before_christ else int(digits)
    sign = "-" if year < 0 else "+" if year > 9999 else ""
    return f"{sign}{abs(year):04d}"


def _fitting(text: str, year: str) -> str:
    if year[0] in "+-" or year == "0000":
        raise Unfit(text)
    return text


def _day(text: str) -> str:
    found = DAY.fullmatch(text)
    if found is None:
        raise Unfit(text)
    year = _year(found[1], found[3])
    return _fitting(f"{year}{found[2]}", year)


def _moment(text: str) -> str:
    found = MOMENT.fullmatch(text)
    if found is None:
        raise Unfit(text)
    year = _year(found[1], found[5])
    return _fitting(f"{year}{found[2]}T{found[3]}{'Z' if found[4] else ''}", year)


def _clock(text: str) -> str:
    if text.startswith("24"):
        raise Unfit(text)
    return text


def _zoned_clock(text: str) -> str:
    hours, minutes, seconds, fraction, sign, *zone = ZONED.fullmatch(text).groups()  # type: ignore[union-attr]
    east = sum(int(part or 0) * unit for part, unit in zip(zone, (3600, 60, 1), strict=True))
    of_day = (int(hours) * 3600 + int(minutes) * 60 + int(seconds) - int(f"{sign}{east}")) % 86_400
    return f"{of_day // 3600:02d}:{of_day // 60 % 60:02d}:{of_day % 60:02d}{fraction or ''}Z"


def _interval(text: str) -> timedelta:
    seconds = Decimal(0)
    units = {"year": 12 * MONTH, "mon": MONTH, "day": 86_400}
    if "infinity" in text:
        raise Unfit(text)
    for count, unit, sign, hours, minutes, rest in PART.findall(text):
        if unit:
            seconds += int(count) * units[unit]
        else:
            clock = int(hours) * 3600 + int(minutes) * 60 + Decimal(rest)
            seconds += -clock if sign == "-" else clock
    whole, fraction = divmod(int(seconds * MILLION), MILLION)
    if abs(seconds) >= FARTHEST:
        raise Unfit(text)
    return timedelta(seconds=whole, microseconds=fraction)


def _point(text: str) -> dict[str, Any]:
    x, y = map(float, text.strip("()").split(","))
    return {"x": x, "y": y, "wkb": struct.pack("<BIdd", 1, 1, x, y), "srid": None}


def _shape(text: str) -> dict[str, Any]:
    raw = bytes.fromhex(text)
    order = "<" if raw[0] else ">"
    (kind,) = struct.unpack(f"{order}I", raw[1:5])
    return {"wkb": raw, "srid": struct.unpack(f"{order}i", raw[5:9])[0] if kind & 0x20000000 else None}


def _items_reader(read: Reader, delimiter: str) -> Reader:
    def items(text: str) -> list[Any]:
        values, notes = [], {}
        for place, item in enumerate(_items(text, delimiter)):
            try:
                values.append(None if item is None else read(item))
            except Unfit as unfit:
                values.append(None)
                notes[str(place)] = str(unfit)
        if notes:
            raise PartlyUnfit(values, json.dumps(notes, ensure_ascii=False))
        return values

    return items


class PartlyUnfit(Unfit):
    """An array that has items which no target's type has."""

    def __init__(self, values: list[Any], notes: str) -> None:
        super().__init__(notes)
        self.values = values


def _items(text: str, delimiter: str) -> Iterator[str | None]:
    """The texts of an array's items. Raises Unfit for more dimensions than one."""
    body = text.partition("=")[2] if text.startswith("[") else text
    if body.startswith("{{"):
        raise Unfit(text)
    for quoted, bare in re.findall(rf'"((?:[^"\\]|\\.)*)"|([^{delimiter}"{{}}]+)', body, re.DOTALL):
        if bare:
            yield None if bare == "NULL" else bare
        else:
            yield re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL)


READERS: Final[dict[str, Reader]] = {
    "smallint": int,
    "integer": int,
    "bigint": int,
    "oid": int,
    "real": _single,
    "double precision": float,
    "boolean": lambda text: text in ("t", "true"),
    "bytea": lambda text: bytes.fromhex(text[2:]),
    "cents": Decimal,
    "bit": lambda text: text == "1",
    "bit varying": _bits,
    "date": _day,
    "time without time zone": _clock,
    "time with time zone": _zoned_clock,
    "timestamp without time zone": _moment,
    "timestamp with time zone": _moment,
    "interval": _interval,
    "point": _point,
    "geometry": _shape,
    "geography": _shape,
    "hstore": lambda text: json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":")),
}
