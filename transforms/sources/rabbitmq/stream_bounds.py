"""Questions about one stream that the protocol answers by chunks: where it begins, where it ends, what stands there.

A server sends the chunks of a subscription before it answers what is asked behind it, as one process serves a
connection. So a subscription that gives nothing before the next answer has nothing to give, but for chunks that are
not yet on enough nodes.
"""

from typing import Final

from ....schemas.errors import SourceError
from .chunk_header import Header
from .connection import AT_OFFSET, AT_TIME, FIRST, LAST, TIMEOUT_SECONDS, Place, StreamConnection

_PROBE: Final = 200
"""The number of a subscription for one question."""
_AT_ONCE: Final = 0.01


def bounds(connection: StreamConnection, stream: str) -> tuple[int, int]:
    """The first offset that is held and the one after the last message; (0, 0) for a stream without messages."""
    first = chunk_at(connection, stream, Place(FIRST))
    if first is None:
        return 0, 0
    last = chunk_at(connection, stream, Place(LAST), patient=True)
    if last is None:
        raise SourceError(f"{stream}: the server does not give its last messages: too few of its nodes are up")
    return first.first, max(last.stop, first.stop)


def offset_at(connection: StreamConnection, stream: str, timestamp: int) -> int:
    """The first offset of the first chunk that was written at `timestamp` (ms) or later, else the end."""
    chunk = chunk_at(connection, stream, Place(AT_TIME, timestamp))
    return bounds(connection, stream)[1] if chunk is None or chunk.timestamp < timestamp else chunk.first


def other_log_since(connection: StreamConnection, stream: str, read: Header) -> int | None:
    """The first offset of a chunk that was read, where the stream has another one there, or none; else None.

    None too where retention took that chunk.
    """
    low, high = bounds(connection, stream)
    if high < read.stop:
        return min(high, read.first)
    if read.first < low:
        return None
    there = chunk_at(connection, stream, Place(AT_OFFSET, read.first), patient=True)
    return None if there is not None and there.tail == read.tail else read.first


def chunk_at(connection: StreamConnection, stream: str, place: Place, patient: bool = False) -> Header | None:
    """The header of the first chunk from there on; None where there is none, after a while if `patient`."""
    connection.subscribe(_PROBE, stream, place, 1)
    # Its answer comes behind the chunk.
    connection.leader(stream)
    chunk = connection.chunk(_PROBE, TIMEOUT_SECONDS if patient else _AT_ONCE)
    connection.unsubscribe(_PROBE)
    return None if chunk is None else Header.of(chunk)
