"""Confluent's framing of Protobuf: behind the schema's id stands which message of its file was written.

That is a list of indexes, outermost message first: their number and each of them as a zigzag varint, where [0] is
written as one zero byte. Source: Confluent's "Wire format" of the Schema Registry.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...loops import array, compile_ahead, read_only
from .. import wire_format
from ..columns.jit import compiled
from ..encoding import BAD, BY_ID, Framed

MOST_NESTED: Final = 4
LARGEST: Final = 254
"""A path is a byte for each level in the upper half of a schema's number, its index and one; [0] is 0."""

_ID_BITS: Final = 32


def frame(data: NDArray[np.uint8], at: NDArray[np.int64], length: NDArray[np.int64]) -> Framed:
    """As `wire_format.frame`; the number of a schema is its id, and above 32 bits the path of the message."""
    framed = wire_format.frame(data, at, length)
    paths = np.zeros((2, len(at)), np.int64)
    indexes(data, framed.at, framed.length, paths)
    rows = framed.kind == BY_ID
    framed.kind[rows & (paths[0] < 0)] = BAD
    taken = np.where(rows & (paths[0] > 0), paths[0], 0)
    schema = np.where(rows, framed.schema | (paths[1].astype(np.uint64) << np.uint64(_ID_BITS)), framed.schema)
    return Framed(framed.kind, schema, framed.at + taken, framed.length - taken)


def id_and_path(number: int) -> tuple[int, tuple[int, ...]]:
    """The registry's id, and the indexes of the message, outermost first."""
    code = number >> _ID_BITS
    path = [(code >> 8 * level & 255) - 1 for level in range(MOST_NESTED)]
    return number & (1 << _ID_BITS) - 1, tuple(index for index in path if index >= 0) or (0,)


def explain(message: bytes) -> str:
    """Why a message is BAD, in a sentence."""
    if len(message) >= wire_format.HEADER and message[0] == wire_format.MAGIC:
        return (
            "the indexes behind the schema's id do not name a message, or one that is nested more than "
            f"{MOST_NESTED} deep or stands behind {LARGEST} others"
        )
    return wire_format.explain(message)


@compile_ahead((read_only(np.uint8), array(np.int64), array(np.int64), array(np.int64, 2)))
@compiled
def indexes(data, at, length, paths):  # type: ignore[no-untyped-def]
    """For each payload the bytes that its indexes take to `paths[0]`, -1 where they are wrong; their code to row 1."""
    for row in range(len(at)):
        p, end = at[row], at[row] + length[row]
        p, count = _index(data, p, end)
        if p < 0 or count > MOST_NESTED:
            paths[0, row] = -1
            continue
        code = np.int64(0)
        for level in range(count):
            p, index = _index(data, p, end)
            if p < 0 or index > LARGEST:
                p = -1
                break
            code |= (index + 1) << (8 * level)
        paths[0, row] = p - at[row] if p >= 0 else -1
        # [0] may be written out as well.
        paths[1, row] = 0 if code == 1 else code


@compiled
def _index(data, p, end):  # type: ignore[no-untyped-def]
    """The position after a zigzag varint of at most 14 bits, and its value; -1 where it is none, or is negative."""
    if p >= end:
        return -1, 0
    value = np.int64(data[p] & 127)
    if data[p] >= 128:
        if p + 1 >= end or data[p + 1] >= 128:
            return -1, 0
        value |= np.int64(data[p + 1]) << 7
        p += 1
    if value & 1:
        return -1, 0
    return p + 1, value >> 1
