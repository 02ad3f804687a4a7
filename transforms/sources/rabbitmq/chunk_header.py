"""The header of a chunk, 48 bytes, and where the chunks of a block begin."""

import json
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple, Self

HEADER: Final = struct.Struct(">BBHIqQQIIII")
MAGIC: Final = 0x50
"""The first byte: osiris, and version 0 of its format."""


class Header(NamedTuple):
    """`timestamp` in milliseconds since the epoch: when the server wrote the chunk. `epoch` grows with each leader.

    `first` is the offset of the first of its `records` messages, `length` that of the entries behind the header.
    """

    magic: int
    kind: int
    entries: int
    records: int
    timestamp: int
    epoch: int
    first: int
    crc: int
    length: int
    trailer: int
    reserved: int

    @property
    def stop(self) -> int:
        """The offset after its last message."""
        return self.first + self.records

    @property
    def tail(self) -> str:
        """What a ledger keeps of the last chunk that was read: it is never written anew, so another one is another
        log."""
        return json.dumps([self.first, self.records, self.timestamp, self.crc], separators=(",", ":"))

    @classmethod
    def of(cls, chunk: bytes) -> Self:
        """The header of a chunk as it was delivered."""
        return cls(*HEADER.unpack_from(chunk))


def of_tail(tail: str) -> Header:
    """What a tail tells of its chunk; the rest is zero."""
    first, records, timestamp, crc = json.loads(tail)
    return Header(MAGIC, 0, 0, records, timestamp, 0, first, crc, 0, 0, 0)


def chunk_bounds(data: bytes) -> Iterator[tuple[int, int]]:
    """Where each chunk starts and stops; the last one reaches to the end where its header cannot be."""
    start = 0
    while start < len(data):
        stop = len(data)
        if start + HEADER.size <= len(data) and data[start] == MAGIC:
            end = start + HEADER.size + Header(*HEADER.unpack_from(data, start)).length
            stop = min(end, stop)
        yield start, stop
        start = stop
