"""Packets of the MySQL protocol: their payloads one after another, by a compiled loop.

A packet is its length (3 bytes), a number and the payload. A payload of 16 MB or more goes over several packets, all
but the last of which are full.
"""

import numba
import numpy as np

from ...schemas.loops import array, compile_ahead, read_only

HEADER = 4
EVENTS, ROWS = 0, 1
"""What is read: events of the log, behind a byte that says so, or rows of an answer."""


def payloads(data: bytes, of: int) -> tuple[bytes, int, bool]:
    """The payloads of whole packets, how many bytes those took, and whether an end or an error follows there.

    Of ROWS each payload stands behind its length, 4 bytes (LE).
    """
    view = np.frombuffer(data, np.uint8)
    size, used, ended = measured(view, of)
    return joined(view, of, size, used).tobytes(), int(used), bool(ended)


def first_payload(data: bytes) -> bytes:
    """The payload of the packet that stands first."""
    return data[HEADER : HEADER + int.from_bytes(data[:3], "little")]


@numba.njit(cache=True, nogil=True)
def _number(data, p, size):  # type: ignore[no-untyped-def]
    value = np.int64(0)
    for i in range(size):
        value |= np.int64(data[p + i]) << (8 * i)
    return value


@compile_ahead((read_only(np.uint8), 0))
@numba.njit(cache=True, nogil=True)
def measured(data, of):  # type: ignore[no-untyped-def]
    """Bytes of the result, bytes that were used, and whether an end or an error stands behind them."""
    size, used, p = np.int64(0), np.int64(0), np.int64(0)
    length, first = np.int64(0), np.int64(-1)
    while p + 4 <= len(data):
        part = _number(data, p, 3)
        if p + 4 + part > len(data):
            break
        if first < 0:
            first = np.int64(data[p + 4]) if part else np.int64(0)
        length += part
        p += 4 + part
        if part == 0xFFFFFF:
            continue
        if first == 0xFF or (first == 0xFE and length < 9):
            return size, used, True
        size += length + 4 if of == 1 else length - 1
        used, length, first = p, np.int64(0), np.int64(-1)
    return size, used, False


@compile_ahead((read_only(np.uint8), 0, 0, 0))
@numba.njit(cache=True, nogil=True)
def joined(data, of, size, used):  # type: ignore[no-untyped-def]
    """The payloads of the packets in the first `used` bytes, `size` bytes in all."""
    out = np.empty(size, np.uint8)
    p, to, begin = np.int64(0), np.int64(0), np.int64(-1)
    while p < used:
        part = _number(data, p, 3)
        p += 4
        skipped = 0
        if begin < 0:
            begin = to
            if of == 1:
                to += 4
            else:
                skipped = 1
        for i in range(skipped, part):
            out[to + i - skipped] = data[p + i]
        to += part - skipped
        p += part
        if part < 0xFFFFFF:
            if of == 1:
                length = to - begin - 4
                for i in range(4):
                    out[begin + i] = (length >> (8 * i)) & 255
            begin = np.int64(-1)
    return out


@compile_ahead((read_only(np.uint8),))
@numba.njit(cache=True, nogil=True)
def count_rows(data):  # type: ignore[no-untyped-def]
    """The number of lengths that follow one another."""
    count, p = 0, np.int64(0)
    while p < len(data):
        p += 4 + _number(data, p, 4)
        count += 1
    return count


@compile_ahead((read_only(np.uint8), array(np.int64, 2), array(np.int64, 2)))
@numba.njit(cache=True, nogil=True)
def fill_fields(data, at, size):  # type: ignore[no-untyped-def]
    """By field and row where the text begins, and its length, -1 for NULL; false for rows of another width."""
    p = np.int64(0)
    for row in range(at.shape[1]):
        end = p + 4 + _number(data, p, 4)
        p += 4
        for field in range(at.shape[0]):
            if p >= end:
                return False
            length = np.int64(data[p])
            p += 1
            if length == 251:
                at[field, row], size[field, row] = p, -1
                continue
            if length > 251:
                wide = 2 if length == 252 else 3 if length == 253 else 8
                length = _number(data, p, wide)
                p += wide
            at[field, row], size[field, row] = p, length
            p += length
        if p != end:
            return False
    return True
