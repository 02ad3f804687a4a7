"""Compiled loops over Postgres's texts of numbers, dates, times and intervals: where each stands, to whole numbers.

Each gives the numbers, and by value whether it is one: an `infinity` or `NaN` is not. Of a NULL (a size below 0) the
number is 0, and it fits. The text is the server's own, so only what the server may write is told apart.
"""

import numba
import numpy as np

from ....schemas.loops import array, compile_ahead, read_only

DAY: int = 86_400_000_000
MONTH: int = 2_629_800_000_000
"""Microseconds of a day, and of a month as Debezium counts it: 365.25 / 12 days."""
FARTHEST: int = 9_223_372_036_854


@numba.njit(cache=True, nogil=True)
def _digits(data, p, end):  # type: ignore[no-untyped-def]
    """The number that begins at `p`, and where it ends."""
    value = np.int64(0)
    while p < end and 48 <= data[p] <= 57:
        value = value * 10 + np.int64(data[p] - 48)
        p += 1
    return value, p


@numba.njit(cache=True, nogil=True)
def _fraction(data, p, end):  # type: ignore[no-untyped-def]
    """Microseconds of `.123`, where there is a point at `p`, and where it ends."""
    if p >= end or data[p] != 46:
        return np.int64(0), p
    begin = p + 1
    value, p = _digits(data, begin, end)
    for _ in range(6 - (p - begin)):
        value *= 10
    return value, p


@numba.njit(cache=True, nogil=True)
def _day(data, p, end):  # type: ignore[no-untyped-def]
    """Days since 1970 of `2024-02-29` (Hinnant, days_from_civil), with BC at the end of the text; where it ends."""
    year, p = _digits(data, p, end)
    month, p = _digits(data, p + 1, end)
    day, p = _digits(data, p + 1, end)
    if data[end - 1] == 67:
        year = 1 - year
    if month <= 2:
        year -= 1
    era = year // 400
    of_era = year - era * 400
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468, p


@numba.njit(cache=True, nogil=True)
def _clock(data, p, end):  # type: ignore[no-untyped-def]
    """Microseconds of `12:34:56.789`, and where it ends."""
    hours, p = _digits(data, p, end)
    minutes, p = _digits(data, p + 1, end)
    seconds, p = _digits(data, p + 1, end)
    micros, p = _fraction(data, p, end)
    return ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + micros, p


@compile_ahead((read_only(np.uint8), array(np.int64), array(np.int64), 2))
@numba.njit(cache=True, nogil=True)
def whole_numbers(data, at, size, scale):  # type: ignore[no-untyped-def]
    """Integers, and decimals without their point; those that have not `scale` digits behind it do not fit."""
    values, fits = np.zeros(len(at), np.int64), np.ones(len(at), np.bool_)
    for i in range(len(at)):
        if size[i] < 0:
            continue
        p, end = at[i], at[i] + size[i]
        negative = data[p] == 45
        p += np.int64(negative)
        fits[i] = 48 <= data[p] <= 57
        value, point = np.int64(0), end - 1
        while p < end:
            if data[p] == 46:
                point = p
            else:
                value = value * 10 - np.int64(data[p] - 48)
            p += 1
        fits[i] &= end - 1 - point == scale
        values[i] = value if negative else -value
    return values, fits


@compile_ahead((read_only(np.uint8), array(np.int64), array(np.int64)))
@numba.njit(cache=True, nogil=True)
def cents(data, at, size):  # type: ignore[no-untyped-def]
    """Money in its smallest unit, whatever stands between and around its digits; (1) and -1 are below zero."""
    values = np.zeros(len(at), np.int64)
    for i in range(len(at)):
        negative, value = False, np.int64(0)
        for p in range(at[i], at[i] + max(size[i], 0)):
            if 48 <= data[p] <= 57:
                value = value * 10 - np.int64(data[p] - 48)
            elif data[p] == 45 or data[p] == 40:
                negative = True
        values[i] = value if negative else -value
    return values


@compile_ahead((read_only(np.uint8), array(np.int64), array(np.int64)))
@numba.njit(cache=True, nogil=True)
def days(data, at, size):  # type: ignore[no-untyped-def]
    """Days since 1970."""
    values, fits = np.zeros(len(at), np.int64), np.ones(len(at), np.bool_)
    for i in range(len(at)):
        if size[i] >= 0:
            fits[i] = 48 <= data[at[i]] <= 57
            if fits[i]:
                values[i], _ = _day(data, at[i], at[i] + size[i])
    return values, fits


@compile_ahead((read_only(np.uint8), array(np.int64), array(np.int64)))
@numba.njit(cache=True, nogil=True)
def clocks(data, at, size):  # type: ignore[no-untyped-def]
    """Microseconds since midnight; 24:00 is one more than there are."""
    values = np.zeros(len(at), np.int64)
    for i in range(len(at)):
        if size[i] >= 0:
            values[i], _ = _clock(data, at[i], at[i] + size[i])
    return values


@compile_ahead((read_only(np.uint8), array(np.int64), array(np.int64)))
@numba.njit(cache=True, nogil=True)
def zoned_clocks(data, at, size):  # type: ignore[no-untyped-def]
    """Microseconds since midnight in UTC, of `12:34:56.789+05:30`, within a day."""
    values = np.zeros(len(at), np.int64)
    for i in range(len(at)):
        if size[i] < 0:
            continue
        end = at[i] + size[i]
        clock, p = _clock(data, at[i], end)
        sign = -1 if data[p] == 45 else 1
        zone, p = _digits(data, p + 1, end)
        zone *= 3600
        for unit in (60, 1):
            if p < end and data[p] == 58:
                more, p = _digits(data, p + 1, end)
                zone += more * unit
        values[i] = (clock - sign * zone * 1_000_000) % DAY
    return values


@compile_ahead((read_only(np.uint8), array(np.int64), array(np.int64)))
@numba.njit(cache=True, nogil=True)
def moments(data, at, size):  # type: ignore[no-untyped-def]
    """Microseconds since 1970, of `2024-02-29 12:34:56.789`, +00 behind it or not; those beyond 64 bits do not fit."""
    values, fits = np.zeros(len(at), np.int64), np.ones(len(at), np.bool_)
    for i in range(len(at)):
        if size[i] < 0:
            continue
        p, end = at[i], at[i] + size[i]
        fits[i] = 48 <= data[p] <= 57
        if fits[i]:
            day, p = _day(data, p, end)
            clock, p = _clock(data, p + 1, end)
            fits[i] = day < FARTHEST // 86_400
            if fits[i]:
                values[i] = day * DAY + clock
    return values, fits


@compile_ahead((read_only(np.uint8), array(np.int64), array(np.int64)))
@numba.njit(cache=True, nogil=True)
def intervals(data, at, size):  # type: ignore[no-untyped-def]
    """Microseconds, of `1 year 2 mons -3 days +04:05:06.7`; those beyond 64 bits, and infinity, do not fit."""
    values, fits = np.zeros(len(at), np.int64), np.ones(len(at), np.bool_)
    for i in range(len(at)):
        p, end = at[i], at[i] + max(size[i], 0)
        seconds, micros = np.int64(0), np.int64(0)
        while p < end:
            sign = -1 if data[p] == 45 else 1
            p += np.int64(data[p] == 45 or data[p] == 43)
            if not 48 <= data[p] <= 57:
                fits[i] = False
                break
            value, after = _digits(data, p, end)
            if after < end and data[after] == 58:
                clock, p = _clock(data, p, end)
                seconds, micros = seconds + sign * (clock // 1_000_000), micros + sign * (clock % 1_000_000)
                continue
            # The word behind the number: years, mons, days.
            letter = data[after + 1]
            unit = 12 * 2_629_800 if letter == 121 else (2_629_800 if letter == 109 else 86_400)
            seconds += sign * value * unit
            p = after + 1
            while p < end and data[p] != 32:
                p += 1
            p += 1
        fits[i] &= -FARTHEST < seconds < FARTHEST
        if fits[i]:
            values[i] = seconds * 1_000_000 + micros
    return values, fits
