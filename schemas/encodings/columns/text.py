"""Text: exact UTF-8, instants in ISO 8601, and the gathering of values into Arrow's buffers, compiled by numba."""

from typing import Final

import numpy as np

from ...loops import array, compile_ahead, read_only
from .jit import compiled, inlined

NO_TIME: Final = -(1 << 63)
"""What `instant` gives for text that is no instant of the years 1 to 9999."""
PLACEHOLDER_TIME: Final = NO_TIME + 1
"""What it gives for Debezium's placeholder of a value that was not sent."""
TEXT_AT: Final = NO_TIME + 2
"""The slot of a value that its type has not is this and the place of its bytes in the data, their length first."""
NEVER: Final = NO_TIME + (1 << 40)
"""No instant of the years 1 to 9999, and no word of a decimal that fits, is as low as this."""

_PLACEHOLDER: Final = np.frombuffer(b"__debezium_unavailable_value", np.uint8)
_HEX: Final = np.frombuffer(b"0123456789abcdef", np.uint8)
# Seconds from 1970-01-01 to the first second of the year 1, and to the last of the year 9999.
_FIRST_SECOND: Final = -62_135_596_800
_LAST_SECOND: Final = 253_402_300_799
_Z, _T, _PLUS, _MINUS, _POINT, _COLON = 90, 84, 43, 45, 46, 58


@inlined
def is_utf8(data, p, end):  # type: ignore[no-untyped-def]
    """Whether the bytes are UTF-8 as Python's strict decoder takes it: no surrogates, nothing overlong."""
    # All bytes or-ed: text is mostly ASCII, and this loop becomes vector instructions.
    seen = np.uint8(0)
    for i in range(p, end):
        seen |= data[i]
    return seen < 128 or _is_wide_utf8(data, p, end)


@compiled
def _is_wide_utf8(data, p, end):  # type: ignore[no-untyped-def]
    while p < end:
        lead = data[p]
        p += 1
        if lead < 0x80:
            continue
        if lead < 0xC2 or lead > 0xF4:
            return False
        more = 1 + (lead >= 0xE0) + (lead >= 0xF0)
        if end - p < more:
            return False
        low, high = 0x80, 0xBF
        if lead == 0xE0:
            low = 0xA0
        elif lead == 0xED:
            high = 0x9F
        elif lead == 0xF0:
            low = 0x90
        elif lead == 0xF4:
            high = 0x8F
        if data[p] < low or data[p] > high:
            return False
        for i in range(p + 1, p + more):
            if data[i] < 0x80 or data[i] > 0xBF:
                return False
        p += more
    return True


@compiled
def _number(data, p, end, digits):  # type: ignore[no-untyped-def]
    """The number of exactly so many digits at `p`, or -1."""
    if end - p < digits:
        return -1
    value = 0
    for i in range(p, p + digits):
        if data[i] < 48 or data[i] > 57:
            return -1
        value = value * 10 + int(data[i] - 48)
    return value


@compiled
def _days(year, month, day):  # type: ignore[no-untyped-def]
    """Days since 1970-01-01 in the proleptic Gregorian calendar, or NO_TIME where there is no such day."""
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    longest = 29 + leap - 1 if month == 2 else 30 if month in (4, 6, 9, 11) else 31
    if month < 1 or month > 12 or day < 1 or day > longest:
        return NO_TIME
    shifted = year - (month <= 2)
    era = shifted // 400
    of_era = shifted - era * 400
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468


@compiled
def instant(data, p, end):  # type: ignore[no-untyped-def]
    """Microseconds since the epoch of `2024-01-31T23:59:59.123456789+01:00`; digits after the sixth are cut off.

    Years of more than four digits have a sign, seconds may be missing, the offset is `Z`, `+HH:MM` or `+HH:MM:SS`, as
    java.time writes them. NO_TIME for anything else and other years than 1 to 9999.
    """
    if end - p == len(_PLACEHOLDER) and data[p] == _PLACEHOLDER[0]:
        for i in range(len(_PLACEHOLDER)):
            if data[p + i] != _PLACEHOLDER[i]:
                return NO_TIME
        return PLACEHOLDER_TIME
    p, days = iso_date(data, p, end)
    if days == NO_TIME or p >= end or data[p] != _T:
        return NO_TIME
    p, seconds = iso_clock(data, p + 1, end)
    if seconds < 0:
        return NO_TIME
    p, micros = _fraction(data, p, end)
    if micros < 0:
        return NO_TIME
    p, offset = iso_offset(data, p, end)
    if offset == NO_TIME or p != end:
        return NO_TIME
    total = days * 86400 + seconds - offset
    if total < _FIRST_SECOND or total > _LAST_SECOND:
        return NO_TIME
    return total * 1_000_000 + micros


@compiled
def iso_date(data, p, end):  # type: ignore[no-untyped-def]
    """The position after a date, and its days since the epoch or NO_TIME."""
    signed = p < end and (data[p] == _PLUS or data[p] == _MINUS)
    negative = signed and data[p] == _MINUS
    p += signed
    digits = 4
    if signed:
        while digits < 9 and p + digits < end and data[p + digits] != _MINUS:
            digits += 1
    year = _number(data, p, end, digits)
    p += digits
    month, day = _number(data, p + 1, end, 2), _number(data, p + 4, end, 2)
    if year < 0 or month < 0 or day < 0 or data[p] != _MINUS or data[p + 3] != _MINUS:
        return p, NO_TIME
    return p + 6, _days(-year if negative else year, month, day)


@compiled
def iso_clock(data, p, end):  # type: ignore[no-untyped-def]
    """The position after `HH:MM` or `HH:MM:SS`, and the seconds or -1."""
    hour, minute = _number(data, p, end, 2), _number(data, p + 3, end, 2)
    if hour < 0 or hour > 23 or minute < 0 or minute > 59 or data[p + 2] != _COLON:
        return p, -1
    p += 5
    second = 0
    if p < end and data[p] == _COLON:
        second = _number(data, p + 1, end, 2)
        p += 3
        if second < 0 or second > 59:
            return p, -1
    return p, hour * 3600 + minute * 60 + second


@compiled
def _fraction(data, p, end):  # type: ignore[no-untyped-def]
    """The position after `.` and one to nine digits, if there are any, and the microseconds or -1."""
    if p >= end or data[p] != _POINT:
        return p, 0
    p += 1
    micros, unit, digits = 0, 100_000, 0
    while p < end and data[p] >= 48 and data[p] <= 57:
        micros += int(data[p] - 48) * unit
        unit //= 10
        digits += 1
        p += 1
    return p, micros if 1 <= digits <= 9 else -1


@compiled
def iso_offset(data, p, end):  # type: ignore[no-untyped-def]
    """The position after an offset from UTC, and its seconds or NO_TIME."""
    if p >= end:
        return p, NO_TIME
    if data[p] == _Z:
        return p + 1, 0
    if data[p] != _PLUS and data[p] != _MINUS:
        return p, NO_TIME
    negative = data[p] == _MINUS
    p, seconds = iso_clock(data, p + 1, end)
    if seconds < 0 or seconds > 18 * 3600:
        return p, NO_TIME
    return p, -seconds if negative else seconds


@compile_ahead((read_only(np.uint8), array(np.int64), array(np.int64), array(np.int32), array(np.uint8)))
@compiled
def gather(data, at, length, offsets, out):  # type: ignore[no-untyped-def]
    """Copy `data[at[i] : at[i] + length[i]]` to `out[offsets[i]:]`, for each row i."""
    for row in range(len(at)):
        p, q = at[row], offsets[row]
        for i in range(length[row]):
            out[q + i] = data[p + i]


@compile_ahead((read_only(np.uint8), array(np.int64), array(np.int64), array(np.uint8)))
@compiled
def uuid_texts(data, at, length, out):  # type: ignore[no-untyped-def]
    """Write the 36 characters of each 16-byte UUID; rows without bytes take no room."""
    q = 0
    for row in range(len(at)):
        for i in range(length[row]):
            if i in (4, 6, 8, 10):
                out[q] = _MINUS
                q += 1
            byte = data[at[row] + i]
            out[q] = _HEX[byte >> 4]
            out[q + 1] = _HEX[byte & 15]
            q += 2
