"""The Confluent wire format: a zero byte and a big-endian 4-byte id of the registry stand before the payload."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .encoding import BAD, BY_ID, NULL, Framed

MAGIC: Final = 0
HEADER: Final = 5
"""Bytes before the payload."""


def frame(data: NDArray[np.uint8], at: NDArray[np.int64], length: NDArray[np.int64]) -> Framed:
    """Read the ids of messages `data[at:at+length]`; a length of -1 is a null, what has no header is BAD."""
    kind = np.where(length >= 0, BAD, NULL).astype(np.uint8)
    schema = np.zeros(len(at), np.uint64)
    header = np.zeros(len(at), np.int64)
    rows = (length >= HEADER) & (byte_of(data, at, length, 0) == MAGIC)
    kind[rows] = BY_ID
    header[rows] = HEADER
    schema[rows] = number(data, at[rows], (1, 2, 3, 4))
    return Framed(kind, schema, at + header, length - header)


def explain(message: bytes) -> str:
    """Why a message is BAD, in a sentence."""
    if not message:
        return "the value is empty: no magic byte, no schema id"
    if message[0] == MAGIC:
        return f"the message ends inside its header, behind byte {len(message)}"
    return f"unknown framing: the first byte is 0x{message[0]:02x}, not 0x00 (Confluent)"


def byte_of(data: NDArray[np.uint8], at: NDArray[np.int64], length: NDArray[np.int64], index: int) -> NDArray[np.int64]:
    """Byte `index` of each message, -1 where it is shorter."""
    found = np.full(len(at), -1, np.int64)
    rows = length > index
    found[rows] = data[at[rows] + index]
    return found


def number(data: NDArray[np.uint8], at: NDArray[np.int64], indexes: tuple[int, ...]) -> NDArray[np.uint64]:
    """The number that these bytes of each message make, the most significant first."""
    made: NDArray[Any] = np.zeros(len(at), np.uint64)
    for index in indexes:
        made = (made << np.uint64(8)) | data[at + index]
    return made
