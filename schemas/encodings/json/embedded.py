"""Where the embedded schema and the payload stand in each message: `{"schema": ..., "payload": ...}`."""

import numpy as np
from numpy.typing import NDArray

from ...loops import array, compile_ahead, read_only
from ..columns.jit import compiled, inlined
from .errors import MAX_DEPTH
from .tokens import CLOSE_OBJECT, COLON, COMMA, OPEN_OBJECT, QUOTE, WIDTH, blank, is_blank, tokenize

SCHEMA = np.frombuffer(b"schema", np.uint8).copy()
PAYLOAD = np.frombuffer(b"payload", np.uint8).copy()
PRIME = 1_099_511_628_211
"""FNV-1a's, of 64 bits: the number of a schema is the hash of its text."""


@compile_ahead(
    (
        read_only(np.uint8),
        read_only(np.int64),
        read_only(np.int64),
        array(np.int64, 2),
        array(np.int64),
        array(np.uint8),
        array(np.uint8),
        array(np.int64, 2),
    ),
)
@compiled
def split(data, at, length, tape, stack, schema_name, payload_name, found):  # type: ignore[no-untyped-def]
    """Fill by message, in `found`: where its schema begins, ends, the schema's hash, where the payload begins and ends.

    A message that has not both is left at zero. What stands before a payload is the same from message to message as a
    rule: then it is only compared.
    """
    before = -1
    for row in range(len(at)):
        p, end = at[row], at[row] + length[row]
        stop = end
        while stop > p and is_blank(data[stop - 1]):
            stop -= 1
        if length[row] < 0 or stop == p or data[stop - 1] != CLOSE_OBJECT:
            continue
        stop -= 1
        if before >= 0 and _same(data, at[before], found[before, 3], p, stop):
            moved = p - at[before]
            found[row, 0] = found[before, 0] + moved
            found[row, 1] = found[before, 1] + moved
            found[row, 2] = found[before, 2]
            found[row, 3] = found[before, 3] + moved
            found[row, 4] = stop
            continue
        first, last, payload = _parts(data, p, stop, tape, stack, schema_name, payload_name)
        if payload < 0:
            continue
        found[row, 0], found[row, 1], found[row, 3], found[row, 4] = first, last, payload, stop
        found[row, 2] = _hash(data, first, last)
        before = row


@compiled
def _same(data, first, last, p, end):  # type: ignore[no-untyped-def]
    """Whether the bytes from `p` on are those of `[first, last)`."""
    if last - first > end - p:
        return False
    at = 0
    while at < last - first and data[first + at] == data[p + at]:
        at += 1
    return at == last - first


@compiled
def _hash(data, first, last):  # type: ignore[no-untyped-def]
    number = np.uint64(14_695_981_039_346_656_037)
    for at in range(first, last):
        number = (number ^ np.uint64(data[at])) * np.uint64(PRIME)
    return np.int64(number)


@compiled
def _parts(data, p, end, tape, stack, schema_name, payload_name):  # type: ignore[no-untyped-def]
    """Where the schema begins and ends and the payload begins; -1 for each where the message has another form."""
    p = blank(data, p, end)
    if p >= end or data[p] != OPEN_OBJECT:
        return -1, -1, -1
    first = _member(data, p + 1, end, schema_name)
    if first < 0:
        return -1, -1, -1
    last, _ = tokenize(data, first, end, tape, stack)
    if last < 0 or data[first] != OPEN_OBJECT:
        return -1, -1, -1
    p = blank(data, last, end)
    if p >= end or data[p] != COMMA:
        return -1, -1, -1
    return first, last, _member(data, p + 1, end, payload_name)


@inlined
def _member(data, p, end, name):  # type: ignore[no-untyped-def]
    """Where the value of the member at `p` begins, which has this name; else -1."""
    p = blank(data, p, end)
    if p + len(name) + 2 >= end or data[p] != QUOTE or data[p + 1 + len(name)] != QUOTE:
        return -1
    for at in range(len(name)):
        if data[p + 1 + at] != name[at]:
            return -1
    p = blank(data, p + len(name) + 2, end)
    if p >= end or data[p] != COLON:
        return -1
    p = blank(data, p + 1, end)
    return p if p < end else -1


def parts(data: NDArray[np.uint8], at: NDArray[np.int64], length: NDArray[np.int64]) -> NDArray[np.int64]:
    """By message, a row of `split`'s `found`."""
    found = np.zeros((len(at), 5), np.int64)
    longest = int(length.max(initial=0))
    tape = np.zeros((longest // 2 + 2, WIDTH), np.int64)
    split(data, at, length, tape, np.zeros(MAX_DEPTH, np.int64), SCHEMA, PAYLOAD, found)
    return found
