"""Where the embedded schema and the payload stand in each message: `{"schema": ..., "payload": ...}`."""

import numpy as np
from numpy.typing import NDArray

from ...loops import array, compile_ahead, read_only
from ..columns.jit import compiled, inlined
from ..columns.words import same
from .errors import MAX_DEPTH
from .escapes import QUOTE
from .scan import CLOSE_OBJECT, COLON, COMMA, OPEN_OBJECT, blank, is_blank, skip

SCHEMA = np.frombuffer(b"schema", np.uint8).copy()
PAYLOAD = np.frombuffer(b"payload", np.uint8).copy()
PRIME = 1_099_511_628_211
"""FNV-1a's, of 64 bits: the number of a schema is the hash of its text."""


@compile_ahead(
    (
        read_only(np.uint8),
        read_only(np.int64),
        read_only(np.int64),
        array(np.uint8),
        array(np.uint8),
        array(np.uint8),
        array(np.int64, 2),
    ),
)
@compiled
def split(data, at, length, kinds, schema_name, payload_name, found):  # type: ignore[no-untyped-def]
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
        size = found[before, 3] - at[before]
        if before >= 0 and size <= stop - p and same(data, p, data, at[before], size):
            moved = p - at[before]
            found[row, 0] = found[before, 0] + moved
            found[row, 1] = found[before, 1] + moved
            found[row, 2] = found[before, 2]
            found[row, 3] = found[before, 3] + moved
            found[row, 4] = stop
            continue
        first, last, payload = _parts(data, p, stop, kinds, schema_name, payload_name)
        if payload < 0:
            continue
        found[row, 0], found[row, 1], found[row, 3], found[row, 4] = first, last, payload, stop
        found[row, 2] = _hash(data, first, last)
        before = row


@compiled
def _hash(data, first, last):  # type: ignore[no-untyped-def]
    number = np.uint64(14_695_981_039_346_656_037)
    for at in range(first, last):
        number = (number ^ np.uint64(data[at])) * np.uint64(PRIME)
    return np.int64(number)


@compiled
def _parts(data, p, end, kinds, schema_name, payload_name):  # type: ignore[no-untyped-def]
    """Where the schema begins and ends and the payload begins; -1 for each where the message has another form."""
    p = blank(data, p, end)
    if p >= end or data[p] != OPEN_OBJECT:
        return -1, -1, -1
    first = _member(data, p + 1, end, schema_name)
    if first < 0:
        return -1, -1, -1
    last = skip(data, first, end, 0, kinds)
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
    split(data, at, length, np.zeros(MAX_DEPTH, np.uint8), SCHEMA, PAYLOAD, found)
    return found
