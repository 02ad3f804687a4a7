"""What stands before the Avro datum in a message: which schema wrote it, and where the datum begins."""

from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .encoding import BAD, BARE, BY_FINGERPRINT, BY_ID, NULL, Framed

MAGIC: Final = 0
SINGLE_OBJECT: Final = (0xC3, 0x01)


class Framing(StrEnum):
    """`AUTO` takes the Confluent wire format and single-object encoding, told apart by their first byte."""

    AUTO = "auto"
    CONFLUENT = "confluent"
    SINGLE_OBJECT = "single_object"
    BARE = "bare"


def frame(data: NDArray[np.uint8], at: NDArray[np.int64], length: NDArray[np.int64], framing: Framing) -> Framed:
    """Read the framing of messages `data[at:at+length]`; a length of -1 is a null.

    Confluent: a zero byte, a big-endian 4-byte id. Single-object (Avro specification): C3 01, the 8-byte
    CRC-64-AVRO fingerprint.
    """
    present = length >= 0
    if framing is Framing.BARE:
        kind = np.where(present, BARE, NULL).astype(np.uint8)
        return Framed(kind, np.zeros(len(at), np.uint64), at, length)
    kind = np.where(present, BAD, NULL).astype(np.uint8)
    schema = np.zeros(len(at), np.uint64)
    header = np.zeros(len(at), np.int64)
    first = _byte(data, at, length, 0)
    if framing is not Framing.SINGLE_OBJECT:
        rows = (length >= 5) & (first == MAGIC)
        kind[rows] = BY_ID
        header[rows] = 5
        schema[rows] = _number(data, at[rows], (1, 2, 3, 4))
    if framing is not Framing.CONFLUENT:
        rows = (length >= 10) & (first == SINGLE_OBJECT[0]) & (_byte(data, at, length, 1) == SINGLE_OBJECT[1])
        kind[rows] = BY_FINGERPRINT
        header[rows] = 10
        schema[rows] = _number(data, at[rows], (9, 8, 7, 6, 5, 4, 3, 2))
    return Framed(kind, schema, at + header, length - header)


def explain(payload: bytes) -> str:
    """Why a message is BAD, in a sentence."""
    if not payload:
        return "the value is empty: no magic byte, no schema id"
    if payload[0] == MAGIC or payload[: len(SINGLE_OBJECT)] == bytes(SINGLE_OBJECT):
        return f"the message ends inside its header, behind byte {len(payload)}"
    return f"unknown framing: the first byte is 0x{payload[0]:02x}, not 0x00 (Confluent) nor 0xc301 (single-object)"


def _byte(data: NDArray[np.uint8], at: NDArray[np.int64], length: NDArray[np.int64], index: int) -> NDArray[np.int64]:
    found = np.full(len(at), -1, np.int64)
    rows = length > index
    found[rows] = data[at[rows] + index]
    return found


def _number(data: NDArray[np.uint8], at: NDArray[np.int64], indexes: tuple[int, ...]) -> NDArray[np.uint64]:
    number = np.zeros(len(at), np.uint64)
    for index in indexes:
        number = (number << np.uint64(8)) | data[at + index]
    return number
