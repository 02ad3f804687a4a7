"""Blocks of the binlog: events back to back, split by a compiled loop, and their checksums.

Format: https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_replication_binlog_event.html
"""

from dataclasses import dataclass, replace

import numba
import numpy as np
from numpy.typing import NDArray

from .....schemas.errors import SourceError
from .....schemas.loops import array, compile_ahead, read_only
from .checksum import first_damaged
from .event_types import CHECKSUM, FORMAT_DESCRIPTION, HEADER, PARTIAL_UPDATE, ROWS, TABLE_MAP, TABLE_NUMBER

Whole = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a block begins: the binlog file, and the position in it of the block's first byte."""

    file: str
    position: int

    def said(self, offset: int) -> str:
        """The place of the block's byte `offset`, for an error."""
        return f"{self.file}, position {self.position + offset}"


@dataclass(frozen=True, slots=True)
class Events:
    """n events in the order of the log. Arrays of n: `kind`, `time` (seconds since 1970), `server`, `flags`.

    The body of event i is `data[start[i] : stop[i]]`, without header and checksum. `next` is the low 32 bits of the
    position after it, 0 of those that are in no file.
    """

    data: NDArray[np.uint8]
    place: Place
    kind: Whole
    time: Whole
    server: Whole
    start: Whole
    stop: Whole
    next: Whole
    flags: Whole

    def __len__(self) -> int:
        return len(self.kind)

    def body(self, event: int) -> bytes:
        """The bytes of one event's body."""
        return self.data[self.start[event] : self.stop[event]].tobytes()

    def of_kind(self, *kinds: int) -> Whole:
        """The numbers of the events of these kinds."""
        return np.flatnonzero(np.isin(self.kind, kinds))

    def tables(self) -> Whole:
        """By event the table's number that it names; -1 for those that are neither a TABLE_MAP nor rows.

        Those that `find_rows` refuses, such as updates of parts of JSON values, are rows too.
        """
        numbers = np.full(len(self), -1, np.int64)
        chosen = np.flatnonzero(
            np.isin(self.kind, (TABLE_MAP, PARTIAL_UPDATE, *ROWS)) & (self.stop - self.start >= TABLE_NUMBER)
        )
        numbers[chosen] = 0
        for i in range(TABLE_NUMBER):
            numbers[chosen] |= self.data[self.start[chosen] + i].astype(np.int64) << 8 * i
        return numbers

    def failed(self, event: int, what: str) -> SourceError:
        """The error of an event that cannot be read."""
        at = int(self.start[event]) - HEADER
        return SourceError(f"binlog {self.place.said(at)}: {what}")

    def only(self, chosen: Whole) -> "Events":
        """These events, of the same data."""
        arrays = ("kind", "time", "server", "start", "stop", "next", "flags")
        return replace(self, **{name: getattr(self, name)[chosen] for name in arrays})


def split(data: bytes, place: Place, *, checksum: bool) -> Events:
    """The events of a block that ends with a whole one; `checksum`: each ends with a CRC32, which is verified.

    Of FORMAT_DESCRIPTION, which says so itself, what it says counts. Raises SourceError for bytes that are no events,
    and for a checksum that does not match.
    """
    view = np.frombuffer(data, np.uint8)
    count = int(count_events(view, CHECKSUM if checksum else 0))
    if count < 0:
        raise SourceError(f"binlog {place.said(-1 - count)}: the bytes are no event of the binlog")
    found = np.empty((7, count), np.int64)
    fill_events(view, found)
    kind, time, server, at, stop, following, flags = found
    described = kind == FORMAT_DESCRIPTION
    summed = np.full(count, checksum) | described
    stop -= np.where(summed, CHECKSUM, 0)
    verified = np.flatnonzero(summed & ~described | described & (view[np.maximum(stop - 1, at)] == 1))
    cleared = described[verified].astype(np.uint8)
    damaged = int(first_damaged(view, at[verified], stop[verified], cleared))
    if damaged >= 0:
        raise SourceError(
            f"binlog {place.said(int(at[verified[damaged]]))}: an event's checksum is not that of its bytes"
        )
    return Events(view, place, kind, time, server, at + HEADER, stop, following, flags)


@numba.njit(cache=True, nogil=True)
def _four(data, p):  # type: ignore[no-untyped-def]
    return np.int64(data[p]) | np.int64(data[p + 1]) << 8 | np.int64(data[p + 2]) << 16 | np.int64(data[p + 3]) << 24


@compile_ahead((read_only(np.uint8), 4))
@numba.njit(cache=True, nogil=True)
def count_events(data, checksum):  # type: ignore[no-untyped-def]
    """How many events there are; where there is none, -1 minus that place."""
    count, p = 0, 0
    while p < len(data):
        if p + 19 > len(data):
            return -1 - p
        size = _four(data, p + 9)
        # A FORMAT_DESCRIPTION ends with a checksum of its own.
        least = 19 + (checksum if data[p + 4] != 15 else 5)
        if size < least or p + size > len(data):
            return -1 - p
        p += size
        count += 1
    return count


@compile_ahead((read_only(np.uint8), array(np.int64, 2)))
@numba.njit(cache=True, nogil=True)
def fill_events(data, found):  # type: ignore[no-untyped-def]
    """Rows of `found`: kind, time, server, where the event begins, where it ends, the next position, flags."""
    p = 0
    for i in range(found.shape[1]):
        size = _four(data, p + 9)
        found[0, i] = data[p + 4]
        found[1, i] = _four(data, p)
        found[2, i] = _four(data, p + 5)
        found[3, i] = p
        found[4, i] = p + size
        found[5, i] = _four(data, p + 13)
        found[6, i] = np.int64(data[p + 17]) | np.int64(data[p + 18]) << 8
        p += size
