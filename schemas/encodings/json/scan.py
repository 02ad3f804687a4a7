"""JSON text, byte by byte and eight at once: white space, strings, numbers, and whole values that nobody reads.

Places are indexes into the data; a negative one is an error of `errors`, negated. The grammar is that of RFC 8259.
"""

from typing import Final

import numpy as np

from ..columns.jit import compiled, inlined
from ..columns.text import is_utf8
from ..columns.words import load_word, trailing_zeros
from .errors import DEPTH, MAX_DEPTH, SYNTAX, TRUNCATED, UTF8
from .escapes import BACKSLASH, QUOTE, escape

COMMA, COLON = 0x2C, 0x3A
OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT = 0x5B, 0x5D, 0x7B, 0x7D
ESCAPED: Final = 1
"""In what `string` says of a text: it has escapes."""
WIDE: Final = 2
"""It has bytes beyond ASCII."""

_ONES: Final = np.uint64(0x0101010101010101)
_HIGHS: Final = np.uint64(0x8080808080808080)
_SPACES: Final = np.uint64(0x2020202020202020)
_QUOTES: Final = np.uint64(0x2222222222222222)
_BACKSLASHES: Final = np.uint64(0x5C5C5C5C5C5C5C5C)
_THREE: Final = np.uint64(3)


@inlined
def is_blank(byte):  # type: ignore[no-untyped-def]
    """Whether a byte is white space of JSON."""
    return byte in (0x20, 0x0A, 0x0D, 0x09)


@inlined
def blank(data, p, end):  # type: ignore[no-untyped-def]
    """The place of the first byte that is no white space."""
    while p < end and data[p] <= 0x20 and is_blank(data[p]):
        p += 1
    return p


@inlined
def _special(data, p, end):  # type: ignore[no-untyped-def]
    """The place of the first byte from `p` on that is a quote, a backslash, a control character or beyond ASCII."""
    while p + 8 <= len(data) and p < end:
        word = load_word(data, p)
        quotes, slashes = word ^ _QUOTES, word ^ _BACKSLASHES
        # The lowest bit that is set is exact; those above it need not be.
        found = ((quotes - _ONES) & ~quotes) | ((slashes - _ONES) & ~slashes) | ((word - _SPACES) & ~word) | word
        found &= _HIGHS
        if found != np.uint64(0):
            return p + np.int64(trailing_zeros(found) >> _THREE)
        p += 8
    while p < end and 0x20 <= data[p] < 0x80 and data[p] != QUOTE and data[p] != BACKSLASH:
        p += 1
    return p


@inlined
def string(data, p, end):  # type: ignore[no-untyped-def]
    """The closing quote of the text that begins at `p`, behind its opening one, and what is special in it.

    Escapes are not read here, only stepped over.
    """
    p = _special(data, p, end)
    if p < end and data[p] == QUOTE:
        return p, 0
    return _odd_string(data, p, p, end)


@compiled
def _odd_string(data, start, p, end):  # type: ignore[no-untyped-def]
    """As `string`, of a text with something special at `p`; all before it is plain."""
    marks = 0
    while True:
        p = _special(data, p, end)
        if p >= end:
            return -TRUNCATED, 0
        byte = data[p]
        if byte == QUOTE:
            break
        if byte == BACKSLASH:
            marks |= ESCAPED
            p += 2
        elif byte < 0x20:
            return -SYNTAX, 0
        else:
            marks |= WIDE
            while p < end and data[p] >= 0x80:
                p += 1
    if marks & WIDE and not is_utf8(data, start, p):
        return -UTF8, 0
    return p, marks


@inlined
def word(data, p, end, letters):  # type: ignore[no-untyped-def]
    """The place behind one of the words of JSON."""
    for i in range(len(letters)):
        if p + i >= end:
            return -TRUNCATED
        if data[p + i] != letters[i]:
            return -SYNTAX
    return p + len(letters)


@inlined
def is_digit(byte):  # type: ignore[no-untyped-def]
    """Whether a byte is 0 to 9."""
    return 0x30 <= byte <= 0x39


@inlined
def digits(data, p, end):  # type: ignore[no-untyped-def]
    """The place behind the digits at `p`, at least one."""
    first = p
    while p < end and is_digit(data[p]):
        p += 1
    if p == first:
        return -TRUNCATED if p >= end else -SYNTAX
    return p


@compiled
def number(data, p, end):  # type: ignore[no-untyped-def]
    """The place behind the number at `p`, and whether it has a fraction or an exponent."""
    if data[p] == 0x2D:
        p += 1
    first, real = p, False
    p = digits(data, p, end)
    if p > first + 1 and data[first] == 0x30:
        return -SYNTAX, False
    if 0 <= p < end and data[p] == 0x2E:
        real = True
        p = digits(data, p + 1, end)
    if 0 <= p < end and (data[p] == 0x65 or data[p] == 0x45):
        real = True
        p += 1
        if p < end and (data[p] == 0x2B or data[p] == 0x2D):
            p += 1
        p = digits(data, p, end)
    return p, real


@compiled
def checked_string(data, p, end):  # type: ignore[no-untyped-def]
    """The place behind the closing quote of a text that nobody reads; its escapes are checked."""
    start = p
    p, marks = string(data, p, end)
    if p >= 0 and marks & ESCAPED:
        at = start
        while at < p:
            if data[at] == BACKSLASH:
                at, _ = escape(data, at, p)
                if at < 0:
                    return at
            else:
                at += 1
    return p + 1 if p >= 0 else p


@compiled
def skip(data, p, end, depth, kinds):  # type: ignore[no-untyped-def]
    """The place behind the value at `p`, whatever it is; `depth` objects and lists are open around it.

    `kinds` (uint8) has room for MAX_DEPTH: the closing bracket of each that is open.
    """
    outer, fresh = depth, False
    while True:
        p = blank(data, p, end)
        if p >= end:
            return -TRUNCATED
        byte = data[p]
        if byte in (OPEN_OBJECT, OPEN_LIST):
            if depth >= MAX_DEPTH:
                return -DEPTH
            kinds[depth] = CLOSE_OBJECT if byte == OPEN_OBJECT else CLOSE_LIST
            depth += 1
            p, fresh = blank(data, p + 1, end), True
        else:
            p, fresh = _leaf(data, p, end), False
        if p < 0:
            return p
        while depth > outer:
            p = blank(data, p, end)
            if p >= end:
                return -TRUNCATED
            if data[p] == kinds[depth - 1]:
                p, depth, fresh = p + 1, depth - 1, False
                continue
            if not fresh:
                if data[p] != COMMA:
                    return -SYNTAX
                p = blank(data, p + 1, end)
            if kinds[depth - 1] == CLOSE_OBJECT:
                p = _key(data, p, end)
                if p < 0:
                    return p
            break
        if depth == outer:
            return p


@inlined
def _leaf(data, p, end):  # type: ignore[no-untyped-def]
    """The place behind a text, number or word."""
    byte = data[p]
    if byte == QUOTE:
        return checked_string(data, p + 1, end)
    if byte == 0x6E:
        return word(data, p, end, (0x6E, 0x75, 0x6C, 0x6C))
    if byte == 0x74:
        return word(data, p, end, (0x74, 0x72, 0x75, 0x65))
    if byte == 0x66:
        return word(data, p, end, (0x66, 0x61, 0x6C, 0x73, 0x65))
    p, _ = number(data, p, end)
    return p


@inlined
def _key(data, p, end):  # type: ignore[no-untyped-def]
    """The place behind a key and its colon."""
    if p >= end:
        return -TRUNCATED
    if data[p] != QUOTE:
        return -SYNTAX
    p = checked_string(data, p + 1, end)
    if p < 0:
        return p
    p = blank(data, p, end)
    if p >= end:
        return -TRUNCATED
    return p + 1 if data[p] == COLON else -SYNTAX
