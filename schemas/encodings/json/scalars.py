"""Values of one piece to Avro: numbers, texts, base64; called by `transcode` alone."""

import numpy as np

from ..columns.jit import compiled, inlined
from .connect_schema import BOOLEAN, BYTES, INT, TEXT
from .errors import BASE64, FULL, KIND, RANGE
from .tokens import BACKSLASH, ESCAPED, FALSE, FLOATING, INTEGER, SIZE, START, STOP, STRING, TOKEN, TRUE, escape

# Columns of `Work.floats`: where the number goes in `out`, where its text begins, its length, its bytes (4 or 8).
GOES, TEXT_AT, LENGTH, BYTES_OF = 0, 1, 2, 3
# `Work.counts`: how many floats there are, the node of the last error, how far `out` is filled, rows that are done.
FLOATS, NODE, FILLED, DONE = 0, 1, 2, 3
ROOM = 16
"""Bytes that the largest value without a length of its own takes."""


@inlined
def varint(out, o, number):  # type: ignore[no-untyped-def]
    """Write a whole number as Avro does; the place behind it. There must be room for ten bytes."""
    left = np.uint64((number << 1) ^ (number >> 63))
    while left >= np.uint64(128):
        out[o] = np.uint8((left & np.uint64(127)) | np.uint64(128))
        left = left >> np.uint64(7)
        o += 1
    out[o] = np.uint8(left)
    return o + 1


@inlined
def utf8_byte(point, size, byte):  # type: ignore[no-untyped-def]
    """Byte `byte` of a character that is `size` bytes of UTF-8."""
    if size == 1:
        return point
    bits = (point >> (6 * (size - 1 - byte))) & 0x3F
    if byte:
        return 0x80 | bits
    return ((0xF00 >> size) & 0xFF) | (point >> (6 * (size - 1)))


@compiled
def write_scalar(data, token, node, schema, work, o):  # type: ignore[no-untyped-def]
    """Write a value of one piece at `o`; the place behind it, or minus an error."""
    kind, found = schema.nodes[node, 0], work.tape[token]
    if kind == INT:
        return _integer(data, found, schema.nodes[node, 2], work.out, o)
    if kind == TEXT:
        return write_text(data, found, work.out, o)
    if kind == BOOLEAN:
        if found[TOKEN] != TRUE and found[TOKEN] != FALSE:
            return -KIND
        work.out[o] = 1 if found[TOKEN] == TRUE else 0
        return o + 1
    if kind == BYTES:
        return _base64(data, found, work.out, o)
    return _float(data, found, schema.nodes[node, 2], work, o)


@compiled
def _integer(data, found, bits, out, o):  # type: ignore[no-untyped-def]
    if found[TOKEN] != INTEGER:
        return -KIND
    p, stop = found[START], found[STOP]
    negative = data[p] == 0x2D
    if negative:
        p += 1
    if stop - p > 19:
        return -RANGE
    # Nineteen digits fit into 64 bits without a sign.
    number = np.uint64(0)
    while p < stop:
        number = number * np.uint64(10) + np.uint64(data[p] - 0x30)
        p += 1
    if number > (np.uint64(1) << np.uint64(bits - 1)) - np.uint64(0 if negative else 1):
        return -RANGE
    signed = np.int64(number)
    return varint(out, o, -signed if negative else signed)


@compiled
def write_text(data, found, out, o):  # type: ignore[no-untyped-def]
    """Write a string, its escapes read; `found` is its row of the tape."""
    if found[TOKEN] != STRING and found[TOKEN] != ESCAPED:
        return -KIND
    if o + ROOM + found[SIZE] > len(out):
        return -FULL
    o = varint(out, o, found[SIZE])
    p, stop = found[START], found[STOP]
    while p < stop:
        if data[p] != BACKSLASH:
            out[o] = data[p]
            p, o = p + 1, o + 1
        else:
            p, point, size = escape(data, p, stop + 1)
            for byte in range(size):
                out[o] = utf8_byte(point, size, byte)
                o += 1
    return o


@inlined
def _six_bits(byte):  # type: ignore[no-untyped-def]
    """What a letter of base64 stands for, or -1."""
    if 0x41 <= byte <= 0x5A:
        return byte - 0x41
    if 0x61 <= byte <= 0x7A:
        return byte - 0x47
    if 0x30 <= byte <= 0x39:
        return byte + 4
    return 62 if byte == 0x2B else 63 if byte == 0x2F else -1


@compiled
def _base64(data, found, out, o):  # type: ignore[no-untyped-def]
    if found[TOKEN] != STRING and found[TOKEN] != ESCAPED:
        return -KIND
    letters, p, stop = found[SIZE], found[START], found[STOP]
    if letters % 4:
        return -BASE64
    if o + ROOM + letters > len(out):
        return -FULL
    padding = 0
    while padding < 2 and padding < letters and data[stop - 1 - padding] == 0x3D:
        padding += 1
    o = varint(out, o, letters // 4 * 3 - padding)
    group, held = 0, 0
    for _ in range(letters - padding):
        byte = np.int64(data[p])
        p += 1
        # A slash may be escaped.
        if byte == BACKSLASH:
            byte = np.int64(data[p])
            p += 1
            if byte != 0x2F:
                return -BASE64
        bits = _six_bits(byte)
        if bits < 0:
            return -BASE64
        group, held = ((group << 6) | bits) & 0xFFFFFF, held + 6
        if held >= 8:
            held -= 8
            out[o] = (group >> held) & 0xFF
            o += 1
    # Bits that belong to no byte are zero.
    return -BASE64 if group & ((1 << held) - 1) else o


@compiled
def _float(data, found, width, work, o):  # type: ignore[no-untyped-def]
    kind = found[TOKEN]
    if kind == STRING:
        if not _is_no_number(data, found[START], found[SIZE]):
            return -KIND
    elif kind != INTEGER and kind != FLOATING:
        return -KIND
    count = work.counts[FLOATS]
    if count >= len(work.floats):
        return -FULL
    work.floats[count, GOES] = o
    work.floats[count, TEXT_AT] = found[START]
    work.floats[count, LENGTH] = found[STOP] - found[START]
    work.floats[count, BYTES_OF] = width
    work.counts[FLOATS] = count + 1
    return o + width


@compiled
def _is_no_number(data, p, size):  # type: ignore[no-untyped-def]
    """Whether a text is NaN, Infinity or -Infinity, which converters write as texts."""
    if size == 3:
        return data[p] == 0x4E and data[p + 1] == 0x61 and data[p + 2] == 0x4E
    if size == 9 and data[p] == 0x2D:
        p, size = p + 1, 8
    if size != 8:
        return False
    word, at = (0x49, 0x6E, 0x66, 0x69, 0x6E, 0x69, 0x74, 0x79), 0
    while at < 8 and data[p + at] == word[at]:
        at += 1
    return at == 8
