"""Reads the records of one batch, in a compiled loop.

Format: Kafka protocol, "Record": zigzag varints of at most 5 bytes (10 for the timestamp), one byte of attributes.
"""

from typing import Final

import numba
import numpy as np

from ....schemas.loops import array, compile_ahead, read_only

_TOO_LONG, _BEYOND, _NEGATIVE, _WRONG_LENGTH, _DISORDER, _LEFT = 1, 2, 3, 4, 5, 6
PROBLEMS: Final = {
    _TOO_LONG: "a number in a record does not end",
    _BEYOND: "a record reaches beyond its end",
    _NEGATIVE: "a length or count in a record is negative",
    _WRONG_LENGTH: "a record is not as long as it says",
    _DISORDER: "offsets do not ascend inside the batch",
    _LEFT: "bytes are left after the last record",
}


@numba.njit(cache=True, nogil=True)
def varint(data, at, end, most):  # type: ignore[no-untyped-def]
    """A zigzag varint of at most `most` bytes before `end`, and the place after it, -1 where there is none."""
    number = np.uint64(0)
    for index in range(min(most, end - at)):
        byte = data[at + index]
        number |= np.uint64(byte & 0x7F) << np.uint64(7 * index)
        if byte < 0x80:
            return np.int64(number >> np.uint64(1)) ^ -np.int64(number & np.uint64(1)), at + index + 1
    return np.int64(0), np.int64(-1)


@numba.njit(cache=True, nogil=True)
def _field(data, at, end):  # type: ignore[no-untyped-def]
    """Length (-1: null) and place of nullable bytes; a place below zero is a problem, negated."""
    length, at = varint(data, at, end, 5)
    if at < 0:
        return np.int64(-1), np.int64(-_TOO_LONG)
    if length > end - at:
        return np.int64(-1), np.int64(-_BEYOND)
    return max(length, np.int64(-1)), at


@numba.njit(cache=True, nogil=True)
def _headers(data, at, end, count):  # type: ignore[no-untyped-def]
    """The place after `count` headers, or a problem, negated."""
    for _ in range(count):
        length, at = _field(data, at, end)
        if at >= 0 and length < 0:
            return np.int64(-_NEGATIVE)
        if at >= 0:
            length, at = _field(data, at + length, end)
        if at < 0:
            return at
        at += max(length, 0)
    return at


@compile_ahead(
    (read_only(np.uint8), array(np.int64, 2), 1, 1, 1, 1, True),
    (read_only(np.uint8), np.zeros((3, 3), np.int64)[:, 1:], 1, 1, 1, 1, True),
)
@numba.njit(cache=True, nogil=True)
def walk(data, cells, shift, base_offset, last_delta, clock, fixed):  # type: ignore[no-untyped-def]
    """Fill `cells` (int64, 8 rows, a column for each record); returns 0, or the number of the first problem.

    Rows: offset, timestamp, place and length of the key, of the value (length -1: null), place and count of the
    headers. `shift` is added to places in `data`. `clock` (ms) is the batch's first timestamp, to which each record
    adds its own, or where `fixed` the timestamp of all.
    """
    at, last = np.int64(0), np.int64(-1)
    for row in range(cells.shape[1]):
        length, at = _field(data, at, len(data))
        if at < 0:
            return -at
        if length < 0:
            return _NEGATIVE
        end = at + length
        # A byte of attributes, which has no meaning in format 2, stands before the timestamp.
        elapsed, at = varint(data, at + 1, end, 10)
        if at < 0:
            return _TOO_LONG
        delta, at = varint(data, at, end, 5)
        if at < 0:
            return _TOO_LONG
        if delta <= last or delta > last_delta:
            return _DISORDER
        last = delta
        key_len, key_at = _field(data, at, end)
        if key_at < 0:
            return -key_at
        value_len, value_at = _field(data, key_at + max(key_len, 0), end)
        if value_at < 0:
            return -value_at
        count, headers_at = varint(data, value_at + max(value_len, 0), end, 5)
        if headers_at < 0:
            return _TOO_LONG
        if count < 0:
            return _NEGATIVE
        at = _headers(data, headers_at, end, count)
        if at < 0:
            return -at
        if at != end:
            return _WRONG_LENGTH
        cells[0, row] = base_offset + delta
        cells[1, row] = clock if fixed else clock + elapsed
        cells[2, row], cells[3, row] = shift + key_at, key_len
        cells[4, row], cells[5, row] = shift + value_at, value_len
        cells[6, row], cells[7, row] = shift + headers_at, count
    return 0 if at == len(data) else _LEFT


@compile_ahead((read_only(np.uint8), array(np.int64), array(np.int64), array(np.int64, 2)))
@numba.njit(cache=True, nogil=True)
def find_headers(data, at, first, cells):  # type: ignore[no-untyped-def]
    """Fill `cells` with the headers of records that `walk` found good.

    `cells` is int64, a column for each header: place and length of its name, place and length of its value (-1: null).

    `at` is by record the place after its count of headers, `first` the number of its first header.
    """
    for row in range(len(at)):
        p = at[row]
        for i in range(first[row], first[row + 1]):
            length, p = varint(data, p, len(data), 5)
            cells[0, i], cells[1, i] = p, length
            size, p = varint(data, p + length, len(data), 5)
            cells[2, i], cells[3, i] = p, size
            p += max(size, 0)
