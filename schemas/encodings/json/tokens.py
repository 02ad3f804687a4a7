"""JSON text to tokens: one compiled loop that checks the grammar of RFC 8259 to the last byte.

A tape has a row for each token, in the order of the text: the members of an object are a key and a value by turns.
"""

from typing import Final

from ..columns.jit import compiled, inlined
from .errors import DEPTH, ESCAPE, MAX_DEPTH, SYNTAX, TRUNCATED, UTF8

# Columns of the tape: what a token is, where its text begins and ends (of a string without its quotes), the row of the
# token behind it and all that it holds, and how many bytes of UTF-8 a string is.
TOKEN, START, STOP, NEXT, SIZE = 0, 1, 2, 3, 4
WIDTH: Final = 5
NULL, FALSE, TRUE, INTEGER, FLOATING, STRING, ESCAPED, ARRAY, OBJECT = range(9)
# What the loop expects next.
VALUE, FIRST_VALUE, KEY, FIRST_KEY, AFTER = range(5)

QUOTE, BACKSLASH, COMMA, COLON = 0x22, 0x5C, 0x2C, 0x3A
OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT = 0x5B, 0x5D, 0x7B, 0x7D


@inlined
def is_blank(byte):  # type: ignore[no-untyped-def]
    """Whether a byte is white space of JSON."""
    return byte in (0x20, 0x0A, 0x0D, 0x09)


@inlined
def blank(data, p, end):  # type: ignore[no-untyped-def]
    """The place of the first byte that is no white space."""
    while p < end and is_blank(data[p]):
        p += 1
    return p


@compiled
def tokenize(data, p, end, tape, stack):  # type: ignore[no-untyped-def]
    """Write the tokens of the value at `p`; the place behind it and the number of tokens, or minus an error and 0.

    `stack` has room for MAX_DEPTH rows of the tape, of the objects and arrays that are open.
    """
    count, depth, want = 0, 0, VALUE
    while True:
        p = blank(data, p, end)
        if want == AFTER and depth == 0:
            return p, count
        if p >= end:
            return -TRUNCATED, 0
        byte = data[p]
        if want == AFTER:
            inside = tape[stack[depth - 1], TOKEN]
            if byte == COMMA:
                want = KEY if inside == OBJECT else VALUE
                p += 1
                continue
            if byte != (CLOSE_OBJECT if inside == OBJECT else CLOSE_LIST):
                return -SYNTAX, 0
        closes = want == AFTER
        closes |= want == FIRST_KEY and byte == CLOSE_OBJECT
        closes |= want == FIRST_VALUE and byte == CLOSE_LIST
        if closes:
            p, depth = p + 1, depth - 1
            tape[stack[depth], STOP] = p
            tape[stack[depth], NEXT] = count
            want = AFTER
        elif want in (KEY, FIRST_KEY):
            p, count, want = _key(data, p, end, tape, count), count + 1, VALUE
        elif byte in (OPEN_OBJECT, OPEN_LIST):
            if depth == MAX_DEPTH:
                return -DEPTH, 0
            tape[count, TOKEN] = OBJECT if byte == OPEN_OBJECT else ARRAY
            tape[count, START] = p
            stack[depth] = count
            p, count, depth = p + 1, count + 1, depth + 1
            want = FIRST_KEY if byte == OPEN_OBJECT else FIRST_VALUE
        else:
            p, count, want = _scalar(data, p, end, tape, count), count + 1, AFTER
        if p < 0:
            return p, 0


@compiled
def _key(data, p, end, tape, row):  # type: ignore[no-untyped-def]
    """Read the key of a member and its colon; the place behind them, or minus an error."""
    if data[p] != QUOTE:
        return -SYNTAX
    p = _string(data, p, end, tape, row)
    if p < 0:
        return p
    p = blank(data, p, end)
    if p >= end:
        return -TRUNCATED
    return p + 1 if data[p] == COLON else -SYNTAX


@compiled
def _scalar(data, p, end, tape, row):  # type: ignore[no-untyped-def]
    """Read a string, number or word; the place behind it, or minus an error."""
    byte = data[p]
    if byte == QUOTE:
        return _string(data, p, end, tape, row)
    tape[row, START] = p
    tape[row, NEXT] = row + 1
    if byte == 0x6E:
        tape[row, TOKEN] = NULL
        p = _word(data, p, end, (0x6E, 0x75, 0x6C, 0x6C))
    elif byte == 0x74:
        tape[row, TOKEN] = TRUE
        p = _word(data, p, end, (0x74, 0x72, 0x75, 0x65))
    elif byte == 0x66:
        tape[row, TOKEN] = FALSE
        if p + 5 > end:
            return -TRUNCATED
        p = _word(data, p + 1, end, (0x61, 0x6C, 0x73, 0x65))
    else:
        p = _number(data, p, end, tape, row)
    tape[row, STOP] = p
    return p


@inlined
def _word(data, p, end, word):  # type: ignore[no-untyped-def]
    for at in range(4):
        if p + at >= end:
            return -TRUNCATED
        if data[p + at] != word[at]:
            return -SYNTAX
    return p + 4


@inlined
def _digits(data, p, end):  # type: ignore[no-untyped-def]
    while p < end and 0x30 <= data[p] <= 0x39:
        p += 1
    return p


@compiled
def _number(data, p, end, tape, row):  # type: ignore[no-untyped-def]
    tape[row, TOKEN] = INTEGER
    if data[p] == 0x2D:
        p += 1
    first = p
    p = _digits(data, p, end)
    if p == first:
        return -TRUNCATED if p >= end else -SYNTAX
    if data[first] == 0x30 and p > first + 1:
        return -SYNTAX
    if p < end and data[p] == 0x2E:
        tape[row, TOKEN] = FLOATING
        first = p + 1
        p = _digits(data, first, end)
        if p == first:
            return -TRUNCATED if p >= end else -SYNTAX
    if p < end and (data[p] == 0x65 or data[p] == 0x45):
        tape[row, TOKEN] = FLOATING
        p += 1
        if p < end and (data[p] == 0x2B or data[p] == 0x2D):
            p += 1
        first = p
        p = _digits(data, p, end)
        if p == first:
            return -TRUNCATED if p >= end else -SYNTAX
    return p


@compiled
def _string(data, p, end, tape, row):  # type: ignore[no-untyped-def]
    p += 1
    start, size, kind = p, 0, STRING
    while True:
        if p >= end:
            return -TRUNCATED
        byte = data[p]
        if byte == QUOTE:
            break
        if byte < 0x20:
            return -SYNTAX
        if byte == BACKSLASH:
            kind = ESCAPED
            p, _, more = escape(data, p, end)
            size += more
        elif byte < 0x80:
            p += 1
            size += 1
        else:
            more = _utf8(data, p, end)
            if more < 0:
                return more
            p += more
            size += more
        if p < 0:
            return p
    tape[row, TOKEN] = kind
    tape[row, START] = start
    tape[row, STOP] = p
    tape[row, NEXT] = row + 1
    tape[row, SIZE] = size
    return p + 1


@compiled
def _utf8(data, p, end):  # type: ignore[no-untyped-def]
    """How many bytes the character at `p` has, or minus an error: the table of the Unicode standard, section 3.9."""
    byte = data[p]
    low, high = 0x80, 0xBF
    if 0xC2 <= byte <= 0xDF:
        more = 1
    elif 0xE0 <= byte <= 0xEF:
        more = 2
        low = 0xA0 if byte == 0xE0 else 0x80
        high = 0x9F if byte == 0xED else 0xBF
    elif 0xF0 <= byte <= 0xF4:
        more = 3
        low = 0x90 if byte == 0xF0 else 0x80
        high = 0x8F if byte == 0xF4 else 0xBF
    else:
        return -UTF8
    if p + more >= end:
        return -UTF8
    if not low <= data[p + 1] <= high:
        return -UTF8
    for at in range(2, more + 1):
        if not 0x80 <= data[p + at] <= 0xBF:
            return -UTF8
    return more + 1


@inlined
def _hex(data, p, end):  # type: ignore[no-untyped-def]
    """The number of four hexadecimal digits, or -1."""
    if p + 4 > end:
        return -1
    number = 0
    for at in range(4):
        byte = data[p + at]
        if 0x30 <= byte <= 0x39:
            digit = byte - 0x30
        elif 0x41 <= byte <= 0x46:
            digit = byte - 0x37
        elif 0x61 <= byte <= 0x66:
            digit = byte - 0x57
        else:
            return -1
        number = number * 16 + digit
    return number


@compiled
def escape(data, p, end):  # type: ignore[no-untyped-def]
    """Read the escape at `p`: the place behind it (or minus an error), the character, its bytes in UTF-8."""
    if p + 1 >= end:
        return -TRUNCATED, 0, 0
    byte = data[p + 1]
    if byte in (QUOTE, BACKSLASH, 0x2F):
        return p + 2, int(byte), 1
    if byte == 0x62:
        return p + 2, 8, 1
    if byte == 0x66:
        return p + 2, 12, 1
    if byte == 0x6E:
        return p + 2, 10, 1
    if byte == 0x72:
        return p + 2, 13, 1
    if byte == 0x74:
        return p + 2, 9, 1
    if byte != 0x75:
        return -ESCAPE, 0, 0
    point = _hex(data, p + 2, end)
    p += 6
    if point < 0 or 0xDC00 <= point <= 0xDFFF:
        return -ESCAPE, 0, 0
    if 0xD800 <= point <= 0xDBFF:
        if p + 1 >= end or data[p] != BACKSLASH or data[p + 1] != 0x75:
            return -ESCAPE, 0, 0
        low = _hex(data, p + 2, end)
        if not 0xDC00 <= low <= 0xDFFF:
            return -ESCAPE, 0, 0
        return p + 6, 0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00), 4
    return p, point, 1 if point < 0x80 else 2 if point < 0x800 else 3
