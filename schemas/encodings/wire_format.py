"""What stands before the Avro datum in a message: which schema wrote it, and where the datum begins."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

MAGIC: Final = 0
SINGLE_OBJECT: Final = (0xC3, 0x01)

NULL: Final = 0
CONFLUENT: Final = 1
FINGERPRINT: Final = 2
BARE: Final = 3
BAD: Final = 4


class Framing(StrEnum):
    """`AUTO` takes the Confluent wire format and single-object encoding, told apart by their first byte."""

    AUTO = "auto"
    CONFLUENT = "confluent"
    SINGLE_OBJECT = "single_object"
    BARE = "bare"


@dataclass(frozen=True, slots=True)
class Framed:
    """One row a message: how it is framed, the schema it names, and the datum's place in the data.

    `kind` is NULL, CONFLUENT, FINGERPRINT, BARE or BAD; `schema` the id or the fingerprint (as a
    little-endian number), 0 for a bare datum.
    """

    kind: NDArray[np.uint8]
    schema: NDArray[np.uint64]
    at: NDArray[np.int64]
    length: NDArray[np.int64]


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
        kind[rows] = CONFLUENT
        header[rows] = 5
        schema[rows] = _number(data, at[rows], (1, 2, 3, 4))
    if framing is not Framing.CONFLUENT:
        rows = (length >= 10) & (first == SINGLE_OBJECT[0]) & (_byte(data, at, length, 1) == SINGLE_OBJECT[1])
        kind[rows] = FINGERPRINT
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
