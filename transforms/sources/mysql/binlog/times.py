"""Dates and times of rows to numbers, by compiled loops, and the texts of those that no calendar has.

A loop writes `out`, and in `odd` the fields of such a value (zero dates, 31 February), packed; 0 elsewhere. Each field
has a place of its own: year << 46 | month << 42 | day << 37 | hour << 32 | minute << 26 | second << 20 | microseconds.
With ODD added, so that a date of zeros is not 0.
"""

from typing import Final

import numba
import numpy as np
import pyarrow as pa

from .....schemas.loops import array, compile_ahead, read_only

ODD: Final = 1 << 62
_DAYS: Final = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], np.int64)
_SCALES: Final = np.array([1, 10_000, 100, 1], np.int64)
"""Microseconds of one, by the bytes of the fraction."""


@numba.njit(cache=True, nogil=True)
def _number(data, p, size):  # type: ignore[no-untyped-def]
    """The highest byte first."""
    value = np.int64(0)
    for j in range(size):
        value = value << 8 | np.int64(data[p + j])
    return value


@numba.njit(cache=True, nogil=True)
def _day(year, month, day):  # type: ignore[no-untyped-def]
    """Days since 1970-01-01 (Hinnant, days_from_civil), or the least number where there is no such day."""
    if not 1 <= month <= 12 or day < 1:
        return np.int64(-(1 << 60))
    leap = month == 2 and ((year % 4 == 0 and year % 100 != 0) or year % 400 == 0)
    if day > _DAYS[month] + (1 if leap else 0):
        return np.int64(-(1 << 60))
    if month <= 2:
        year -= 1
    era = year // 400
    of_era = year - era * 400
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468


@numba.njit(cache=True, nogil=True)
def _moment(date, clock, fraction):  # type: ignore[no-untyped-def]
    """Microseconds since 1970, and 0; or 0, and the fields. `date` has 5 bits of the day, `clock` 6 bits twice."""
    year_month, day = date >> 5, date & 31
    year, month = year_month // 13, year_month % 13
    hour, minute, second = clock >> 12, clock >> 6 & 63, clock & 63
    days = _day(year, month, day)
    if days < -(1 << 59) or hour > 23 or minute > 59 or second > 59 or fraction > 999_999:
        fields = year << 46 | month << 42 | day << 37 | hour << 32 | minute << 26 | second << 20 | fraction & 0xFFFFF
        return np.int64(0), np.int64(ODD) | fields
    return ((days * 24 + hour) * 60 + minute) * 60_000_000 + second * 1_000_000 + fraction, np.int64(0)


@compile_ahead((read_only(np.uint8), array(np.int64), array(np.int64), array(np.int64), array(np.int64)))
@numba.njit(cache=True, nogil=True)
def dates(data, at, size, out, odd):  # type: ignore[no-untyped-def]
    """Days since 1970-01-01."""
    for i in range(len(at)):
        out[i], odd[i] = 0, 0
        if size[i] < 0:
            continue
        p = at[i]
        value = np.int64(data[p]) | np.int64(data[p + 1]) << 8 | np.int64(data[p + 2]) << 16
        year, month, day = value >> 9, value >> 5 & 15, value & 31
        days = _day(year, month, day)
        if days < -(1 << 59):
            odd[i] = np.int64(ODD) | year << 46 | month << 42 | day << 37
        else:
            out[i] = days


@compile_ahead((read_only(np.uint8), array(np.int64), array(np.int64), 1, array(np.int64)))
@numba.njit(cache=True, nogil=True)
def times(data, at, size, fraction, out):  # type: ignore[no-untyped-def]
    """Microseconds of a TIME, of either sign; `fraction`: bytes of it, or -1 for the form of MySQL 5.5."""
    for i in range(len(at)):
        out[i] = 0
        if size[i] < 0:
            continue
        p = at[i]
        if fraction < 0:
            value = np.int64(data[p]) | np.int64(data[p + 1]) << 8 | np.int64(data[p + 2]) << 16
            value = value - (1 << 24) if value >= 1 << 23 else value
            clock = abs(value)
            seconds, micros = (clock // 10_000 * 60 + clock // 100 % 100) * 60 + clock % 100, np.int64(0)
        else:
            value = _number(data, p, 3 + fraction) - (np.int64(0x800000) << (8 * fraction))
            whole = abs(value)
            clock = whole >> (8 * fraction)
            micros = (whole & ((np.int64(1) << (8 * fraction)) - 1)) * _SCALES[fraction]
            seconds = ((clock >> 12 & 1023) * 60 + (clock >> 6 & 63)) * 60 + (clock & 63)
        total = seconds * 1_000_000 + micros
        out[i] = -total if value < 0 else total


@compile_ahead((read_only(np.uint8), array(np.int64), array(np.int64), 1, array(np.int64), array(np.int64)))
@numba.njit(cache=True, nogil=True)
def moments(data, at, size, fraction, out, odd):  # type: ignore[no-untyped-def]
    """Microseconds of a DATETIME; `fraction`: bytes of it, or -1 for the form of MySQL 5.5."""
    for i in range(len(at)):
        out[i], odd[i] = 0, 0
        if size[i] < 0:
            continue
        p = at[i]
        if fraction < 0:
            value = np.int64(0)
            for j in range(8):
                value |= np.int64(data[p + j]) << (8 * j)
            day, clock = value // 1_000_000, value % 1_000_000
            date = (day // 10_000 * 13 + day // 100 % 100) << 5 | day % 100
            clock = clock // 10_000 << 12 | clock // 100 % 100 << 6 | clock % 100
            out[i], odd[i] = _moment(date & ((np.int64(1) << 22) - 1), clock, np.int64(0))
        else:
            value = _number(data, p, 5) - (np.int64(1) << 39)
            micros = _number(data, p + 5, fraction) * _SCALES[fraction]
            out[i], odd[i] = _moment(value >> 17 & ((np.int64(1) << 22) - 1), value & 0x1FFFF, micros)


@compile_ahead((read_only(np.uint8), array(np.int64), array(np.int64), 1, array(np.int64), array(np.int64)))
@numba.njit(cache=True, nogil=True)
def instants(data, at, size, fraction, out, odd):  # type: ignore[no-untyped-def]
    """Microseconds of a TIMESTAMP since 1970; second 0 is the date of zeros. `fraction` as in `moments`."""
    for i in range(len(at)):
        out[i], odd[i] = 0, 0
        if size[i] < 0:
            continue
        p = at[i]
        micros = np.int64(0)
        if fraction < 0:
            seconds = np.int64(data[p]) | np.int64(data[p + 1]) << 8
            seconds |= np.int64(data[p + 2]) << 16 | np.int64(data[p + 3]) << 24
        else:
            seconds = _number(data, p, 4)
            micros = _number(data, p + 4, fraction) * _SCALES[fraction]
        if seconds == 0 and micros == 0:
            odd[i] = np.int64(ODD)
        else:
            out[i] = seconds * 1_000_000 + micros


def odd_texts(odd: np.ndarray[tuple[int], np.dtype[np.int64]], kind: pa.DataType) -> pa.Array | None:
    """The texts of odd dates as ISO 8601: `0000-00-00`, `2024-00-10T01:02:03.5`; None where all are 0."""
    if not odd.any():
        return None
    values, places = np.unique(odd, return_inverse=True)
    texts = pa.array([_text(int(value), kind) if value else None for value in values], pa.string())
    return texts.take(pa.array(places.reshape(-1)))


def _text(odd: int, kind: pa.DataType) -> str:
    fields = odd & ~ODD
    text = f"{fields >> 46:04d}-{fields >> 42 & 15:02d}-{fields >> 37 & 31:02d}"
    if pa.types.is_date(kind):
        return text
    text += f"T{fields >> 32 & 31:02d}:{fields >> 26 & 63:02d}:{fields >> 20 & 63:02d}"
    if micros := fields & 0xFFFFF:
        text += f".{micros:06d}".rstrip("0")
    return text if kind.tz is None else text + "Z"
