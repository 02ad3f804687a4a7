"""What stands before the Avro datum in a message: which schema wrote it, and where the datum begins."""

from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .. import wire_format
from ..encoding import BAD, BARE, BY_FINGERPRINT, NULL, Framed
from ..wire_format import MAGIC, byte_of, number

SINGLE_OBJECT: Final = (0xC3, 0x01)


class Framing(StrEnum):
    """`AUTO` takes the Confluent wire format and single-object encoding, told apart by their first byte."""

    AUTO = "auto"
    CONFLUENT = "confluent"
    SINGLE_OBJECT = "single_object"
    BARE = "bare"


def frame(data: NDArray[np.uint8], at: NDArray[np.int64], length: NDArray[np.int64], framing: Framing) -> Framed:
    """Read the framing of messages `data[at:at+length]`; a length of -1 is a null.

    Single-object (Avro specification): C3 01, the 8-byte CRC-64-AVRO fingerprint.
    """
    if framing is Framing.CONFLUENT:
        return wire_format.frame(data, at, length)
    if framing is Framing.AUTO:
        framed = wire_format.frame(data, at, length)
        return _single_object(data, at, length, framed)
    unnamed = BARE if framing is Framing.BARE else BAD
    kind = np.where(length >= 0, unnamed, NULL).astype(np.uint8)
    framed = Framed(kind, np.zeros(len(at), np.uint64), at, length)
    return framed if framing is Framing.BARE else _single_object(data, at, length, framed)


def _single_object(data: NDArray[np.uint8], at: NDArray[np.int64], length: NDArray[np.int64], framed: Framed) -> Framed:
    rows = (length >= 10) & (byte_of(data, at, length, 0) == SINGLE_OBJECT[0])
    rows &= byte_of(data, at, length, 1) == SINGLE_OBJECT[1]
    framed.kind[rows] = BY_FINGERPRINT
    framed.schema[rows] = number(data, at[rows], (9, 8, 7, 6, 5, 4, 3, 2))
    header = np.where(rows, 10, 0)
    return Framed(framed.kind, framed.schema, framed.at + header, framed.length - header)


def explain(message: bytes) -> str:
    """Why a message is BAD, in a sentence."""
    if message and message[0] != MAGIC and message[: len(SINGLE_OBJECT)] != bytes(SINGLE_OBJECT):
        first = f"unknown framing: the first byte is 0x{message[0]:02x}"
        return f"{first}, not 0x00 (Confluent) nor 0xc301 (single-object)"
    if message[:1] == bytes(SINGLE_OBJECT[:1]):
        return f"the message ends inside its header, behind byte {len(message)}"
    return wire_format.explain(message)
