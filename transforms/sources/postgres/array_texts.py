"""Compiled loops over Postgres's texts that hold several values: arrays, hstore, bits and the places of hex digits."""

import numba
import numpy as np

from ....schemas.loops import array, compile_ahead, read_only

QUOTE, BACKSLASH, OPEN, CLOSE = 34, 92, 123, 125


@numba.njit(cache=True, nogil=True)
def _is_null(data, p, size):  # type: ignore[no-untyped-def]
    return size == 4 and data[p] == 78 and data[p + 1] == 85 and data[p + 2] == 76 and data[p + 3] == 76


@compile_ahead((read_only(np.uint8), array(np.int64), array(np.int64), 44))
@numba.njit(cache=True, nogil=True)
def array_items(data, at, size, delimiter):  # type: ignore[no-untyped-def]
    """The items of `{1,"a\\"b",NULL}`: by array their number (-1 for more dimensions than one), then all of them.

    Gives (counts, bytes, where each item begins in them, its length or -1 for NULL). Bounds, as in `[2:3]={1,2}`,
    are left out.
    """
    total, commas = 0, 0
    for i in range(len(at)):
        total += max(size[i], 0)
        for p in range(at[i], at[i] + max(size[i], 0)):
            commas += data[p] == delimiter
    counts = np.zeros(len(at), np.int64)
    out, item_at = np.empty(total, np.uint8), np.zeros(commas + len(at), np.int64)
    item_size = np.zeros(commas + len(at), np.int64)
    n, w = 0, 0
    for i in range(len(at)):
        p, end, begin = at[i], at[i] + max(size[i], 0), n
        while p < end and data[p] != OPEN:
            p += 1
        p += 1
        while p < end and data[p] != CLOSE:
            if data[p] == OPEN:
                counts[i], n = -1, begin
                break
            start, quoted = w, data[p] == QUOTE
            p += np.int64(quoted)
            while data[p] != QUOTE if quoted else data[p] != delimiter and data[p] != CLOSE:
                p += np.int64(data[p] == BACKSLASH)
                out[w] = data[p]
                w, p = w + 1, p + 1
            p += np.int64(quoted)
            item_at[n], item_size[n] = start, w - start
            if not quoted and _is_null(out, start, w - start):
                item_size[n] = -1
            n += 1
            p += np.int64(data[p] == delimiter)
        if counts[i] >= 0:
            counts[i] = n - begin
    return counts, out, item_at[:n], item_size[:n]


@compile_ahead((read_only(np.uint8), array(np.int64), array(np.int64)))
@numba.njit(cache=True, nogil=True)
def bit_bytes(data, at, size):  # type: ignore[no-untyped-def]
    """`101` as little-endian bytes without zeros at the end: offsets (n + 1) and bytes."""
    offsets = np.zeros(len(at) + 1, np.int64)
    for i in range(len(at)):
        offsets[i + 1] = offsets[i] + (max(size[i], 0) + 7) // 8
    out, w = np.zeros(offsets[-1], np.uint8), 0
    for i in range(len(at)):
        low, bits = w, max(size[i], 0)
        offsets[i] = low
        for bit in range(bits):
            if data[at[i] + bits - 1 - bit] == 49:
                while w <= low + bit // 8:
                    out[w] = 0
                    w += 1
                out[low + bit // 8] |= np.uint8(1 << (bit % 8))
    offsets[-1] = w
    return offsets, out[:w]


@numba.njit(cache=True, nogil=True)
def _json_byte(out, w, byte):  # type: ignore[no-untyped-def]
    """Write one byte of a JSON string, escaped where it must be; where the next one goes."""
    if byte >= 32 and byte != QUOTE and byte != BACKSLASH:
        out[w] = byte
        return w + 1
    out[w] = BACKSLASH
    short = 0
    if byte in (QUOTE, BACKSLASH):
        short = byte
    elif byte == 10:
        short = 110
    elif byte == 13:
        short = 114
    elif byte == 9:
        short = 116
    elif byte == 8:
        short = 98
    elif byte == 12:
        short = 102
    if short:
        out[w + 1] = short
        return w + 2
    out[w + 1], out[w + 2], out[w + 3], out[w + 4] = 117, 48, 48, 48 + (byte >> 4)
    low = byte & 15
    out[w + 5] = low + (48 if low < 10 else 87)
    return w + 6


@compile_ahead((read_only(np.uint8), array(np.int64), array(np.int64)))
@numba.njit(cache=True, nogil=True)
def hstore_json(data, at, size):  # type: ignore[no-untyped-def]
    r"""`"a"=>"1", "b"=>NULL` as `{"a":"1","b":null}`: offsets (n + 1) and bytes."""
    total = 0
    for i in range(len(at)):
        total += 6 * max(size[i], 0) + 2
    out, offsets, w = np.empty(total, np.uint8), np.zeros(len(at) + 1, np.int64), 0
    for i in range(len(at)):
        p, end = at[i], at[i] + max(size[i], 0)
        if size[i] >= 0:
            out[w] = OPEN
            w += 1
        while p < end:
            byte = data[p]
            if byte == QUOTE:
                out[w] = QUOTE
                w, p = w + 1, p + 1
                while data[p] != QUOTE:
                    p += np.int64(data[p] == BACKSLASH)
                    w, p = _json_byte(out, w, data[p]), p + 1
                out[w] = QUOTE
                w, p = w + 1, p + 1
            elif byte == 78:
                out[w], out[w + 1], out[w + 2], out[w + 3] = 110, 117, 108, 108
                w, p = w + 4, p + 4
            elif byte == 61:
                out[w] = 58
                w, p = w + 1, p + 2
            else:
                if byte == 44:
                    out[w] = 44
                    w += 1
                p += 1
        if size[i] >= 0:
            out[w] = CLOSE
            w += 1
        offsets[i + 1] = w
    return offsets, out[:w]


@compile_ahead((array(np.int64),))
@numba.njit(cache=True, nogil=True)
def clock_texts(micros):  # type: ignore[no-untyped-def]
    """`12:34:56.789Z` of microseconds since midnight: offsets (n + 1) and bytes."""
    out, offsets, w = np.empty(16 * len(micros), np.uint8), np.zeros(len(micros) + 1, np.int64), 0
    for i in range(len(micros)):
        seconds, rest = micros[i] // 1_000_000, micros[i] % 1_000_000
        for place, part in enumerate((seconds // 3600, seconds // 60 % 60, seconds % 60)):
            if place:
                out[w] = 58
                w += 1
            out[w], out[w + 1] = 48 + part // 10, 48 + part % 10
            w += 2
        if rest:
            out[w] = 46
            w += 1
            unit = 100_000
            while rest:
                out[w] = 48 + rest // unit
                w, rest, unit = w + 1, rest % unit, unit // 10
        out[w] = 90
        w += 1
        offsets[i + 1] = w
    return offsets, out[:w]


@compile_ahead((read_only(np.uint8), array(np.int64), array(np.int64)))
@numba.njit(cache=True, nogil=True)
def hex_bytes(data, at, size):  # type: ignore[no-untyped-def]
    r"""What `\x0a1b` and `0A1B` say, two digits a byte: offsets (n + 1) and bytes."""
    total = 0
    for i in range(len(at)):
        total += max(size[i], 0) // 2
    out, offsets, w = np.empty(total, np.uint8), np.zeros(len(at) + 1, np.int64), 0
    for i in range(len(at)):
        p, end = at[i], at[i] + max(size[i], 0)
        if p < end and data[p] == BACKSLASH:
            p += 2
        while p < end:
            value = np.int64(0)
            for j in range(2):
                digit = np.int64(data[p + j])
                value = value * 16 + (digit - 48 if digit < 58 else (digit | 32) - 87)
            out[w] = value
            w, p = w + 1, p + 2
        offsets[i + 1] = w
    return offsets, out[:w]
