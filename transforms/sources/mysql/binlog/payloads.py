"""Compressed events, unpacked in bounded memory: MySQL's TRANSACTION_PAYLOAD, MariaDB's rows and statements."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa

from .....schemas.errors import SourceError
from .control import inflated
from .cursor import Cursor
from .event_types import CHECKSUM, HEADER, PLAIN_OF, QUERY_COMPRESSED, TRANSACTION_PAYLOAD
from .events import Events, Place, Whole, split

MOST: Final = 64 << 20
"""Bytes of unpacked events that are given at once, but for an event that is longer alone."""
LONGEST: Final = 1 << 30
"""Bytes of an event: the most that `max_allowed_packet` allows."""
CHUNK: Final = 1 << 20
ZSTD, PLAIN = 0, 255
END, SIZE, COMPRESSION, WHOLE_SIZE = range(4)
UPDATE_COMPRESSED: Final = (167, 170)
FIRST_OF_VERSION_2: Final = 169


@dataclass(slots=True)
class _Part:
    """Pieces of bytes, and their events with places in all of them together."""

    place: Place
    size: int = 0
    pieces: list[bytes] = field(default_factory=list)
    events: list[Whole] = field(default_factory=list)

    def add(self, events: Events, first: int, stop: int) -> None:
        """Keep events whose bytes follow one another."""
        if first == stop:
            return
        low, high = int(events.start[first]) - HEADER, int(events.stop[stop - 1])
        move = self.size - low
        one = slice(first, stop)
        start, end = events.start[one] + move, events.stop[one] + move
        columns = (events.kind[one], events.time[one], events.server[one], start, end, events.next[one])
        self.events.append(np.stack((*columns, events.flags[one])))
        self.pieces.append(events.data[low:high].tobytes())
        self.size += high - low

    def made(self) -> Events:
        """All that was kept."""
        data = np.frombuffer(b"".join(self.pieces), np.uint8)
        return Events(data, self.place, *np.concatenate(self.events, axis=1))


def plain(events: Events, *, most: int = MOST) -> Iterator[Events]:
    """The same events with those that are compressed unpacked, in parts of about `most` bytes.

    An event of a payload has the `next` of the payload. Raises SourceError for bytes that cannot be unpacked.
    """
    compressed = events.of_kind(TRANSACTION_PAYLOAD, *PLAIN_OF)
    if not len(compressed):
        yield events
        return
    part, done = _Part(events.place), 0
    for number in compressed.tolist():
        part.add(events, done, number)
        done = number + 1
        for inner in _unpacked(events, number):
            part.add(inner, 0, len(inner))
            if part.size >= most:
                yield part.made()
                part = _Part(events.place)
    part.add(events, done, len(events))
    if part.events:
        yield part.made()


def _unpacked(events: Events, number: int) -> Iterator[Events]:
    kind, body = int(events.kind[number]), events.body(number)
    try:
        if kind == TRANSACTION_PAYLOAD:
            for inner in _payload(events, number, body):
                found = split(inner, events.place, checksum=False)
                found.next[:] = events.next[number]
                if len(found.of_kind(TRANSACTION_PAYLOAD)):
                    raise SourceError("a transaction that was unpacked holds another that is to be unpacked")
                yield found
        else:
            header = events.data[events.start[number] - HEADER : events.start[number]].tobytes()
            content = _statement(body) if kind == QUERY_COMPRESSED else _rows(kind, body)
            yield split(_event(header, PLAIN_OF[kind], content), events.place, checksum=False)
    except SourceError as error:
        raise events.failed(number, str(error)) from None


def _event(header: bytes, kind: int, body: bytes) -> bytes:
    return header[:4] + bytes((kind,)) + header[5:9] + struct.pack("<I", HEADER + len(body)) + header[13:] + body


def _statement(body: bytes) -> bytes:
    """The body of a QUERY whose text was compressed."""
    cursor = Cursor(body)
    fixed = cursor.take(13)
    status = int.from_bytes(fixed[11:13], "little")
    head = fixed + cursor.take(status + fixed[8] + 1)
    return head + inflated(cursor.rest(), LONGEST)


def _rows(kind: int, body: bytes) -> bytes:
    """The body of a row event whose rows, behind the bitmaps, were compressed."""
    cursor = Cursor(body)
    cursor.number(8)
    if kind >= FIRST_OF_VERSION_2:
        cursor.take(cursor.number(2) - 2)
    width = cursor.packed()
    cursor.take((width + 7) // 8 * (2 if kind in UPDATE_COMPRESSED else 1))
    packed = cursor.rest()
    return body[: len(body) - len(packed)] + inflated(packed, LONGEST)


def _payload(events: Events, number: int, body: bytes) -> Iterator[bytes]:
    """Whole events of a payload, about CHUNK bytes at a time."""
    cursor = Cursor(body)
    compression = ZSTD
    while (kind := cursor.packed()) != END:
        value = Cursor(cursor.counted())
        if kind == COMPRESSION:
            compression = value.packed()
    if compression not in (ZSTD, PLAIN):
        raise SourceError(f"a transaction is compressed in the way {compression}, which is not known")
    source = pa.BufferReader(cursor.rest())
    stream = pa.CompressedInputStream(source, "zstd") if compression == ZSTD else source
    held, wanted = b"", CHUNK
    while True:
        try:
            more = stream.read(wanted)
        except OSError as error:
            raise SourceError(f"a transaction cannot be unpacked ({error})") from None
        held += more
        whole, wanted = _whole(held)
        if whole:
            yield held[:whole]
            held = held[whole:]
        if not more:
            break
    if held:
        raise SourceError("a transaction that was unpacked ends within an event")


def _whole(held: bytes) -> tuple[int, int]:
    """The bytes of the whole events, and how many to read next. Raises SourceError for an event of no length."""
    p = 0
    while p + HEADER <= len(held):
        size = int.from_bytes(held[p + 9 : p + 13], "little")
        if size < HEADER or size > LONGEST + CHECKSUM:
            raise SourceError("a transaction that was unpacked holds bytes that are no event")
        if p + size > len(held):
            return p, max(CHUNK, size - (len(held) - p))
        p += size
    return p, CHUNK
