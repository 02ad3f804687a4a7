"""The binlog, read once for all tables of a job: each table's records wait until its reader takes them.

The server sends its whole log to each reader, while a job reads each table for itself. The readers of a process
therefore share one stream (`stream_of`).
"""

import itertools
import threading
import time
from collections import deque
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ....schemas.errors import SourceError
from ..table_queues import BLOCK_BYTES, TableQueues
from .binlog import event_types as types
from .binlog.control import format_description, rotate
from .binlog.events import Events, Place, count_events, fill_events, split
from .client import POSITIONS, SILENT_SECONDS, BinlogDump, MySqlSettings, Session, lost_log, other_server
from .log_place import file_of, identity
from .log_tables import LogTables, Stretch
from .marks import marks_of
from .offsets import FIRST_POSITION, STREAM, number_of, offset_of, place_of
from .transactions import may_end, transactions

CHUNK_BYTES: Final = 8 << 20
ENDS_KEPT: Final = 256
HEARTBEATS: Final = (types.HEARTBEAT, 41)
WAIT: Final = 0.05

Whole = NDArray[np.int64]


class BinlogStream:
    """The stream and what waits of it. `position`: all transactions that end before it were received."""

    def __init__(self, settings: MySqlSettings) -> None:
        self.settings = settings
        self.lock = threading.Lock()
        self._forget()

    def _forget(self) -> None:
        self._dump: BinlogDump | None = None
        self._open: list[tuple[Events, Whole]] = []
        self._queues = TableQueues()
        self._tables = LogTables(frozenset(), mariadb=False)
        self._ends: deque[Whole] = deque(maxlen=ENDS_KEPT)
        self._number, self._checksum = 0, True
        self._heard = time.monotonic()
        self.position = 0
        self.base = 0

    def close(self) -> None:
        """End the connection; the stream may be read again."""
        dump = self._dump
        self._forget()
        if dump is not None:
            dump.close()

    def take(self, topic: str, first: int, stop: int | None, wait: float) -> tuple[int, bytes] | None:
        """The next records of a table and the offset they reach, after at most about `wait` seconds; None for none.

        Raises SourceError, and LostOffsetsError where the server has not the log from `first` on.
        """
        if self._dump is None or first < max(self.base, self._queues.served(topic)) or topic not in self._tables.wanted:
            self._begin(topic, first)
        self._queues.ask(topic)
        deadline = time.monotonic() + wait
        limit = np.iinfo(np.int64).max if stop is None else stop
        while (self._queues.size(topic) < BLOCK_BYTES or self.position <= first) and self.position < limit:
            if not self._receive() and time.monotonic() >= deadline:
                break
        return self._queues.taken(topic, first, limit, self.position)

    def end_before(self, offset: int) -> int:
        """The last end of a transaction that is known up to this offset: where a server can begin to send."""
        for ends in reversed(self._ends):
            if len(ends) and ends[0] <= offset:
                return int(ends[np.searchsorted(ends, offset, "right") - 1])
        return min(self.base, offset)

    def _begin(self, topic: str, first: int) -> None:
        self.close()
        marks = marks_of(self.settings)
        marks.wanted.add(topic)
        mark = marks.at(topic, first)
        begin = first if mark is None or not STREAM <= mark.log <= first else mark.log
        if place_of(begin)[1] >= POSITIONS:
            begin = offset_of(place_of(begin)[0], FIRST_POSITION)
        if mark is not None and mark.born:
            marks.born.setdefault(place_of(mark.log)[0], mark.born)
        session = Session(self.settings)
        try:
            if mark is not None and mark.server != identity(session):
                raise other_server(self.settings)
            number, position = place_of(begin)
            file = file_of(session, number)
            ((checksum, case),) = session.rows("SELECT @@global.binlog_checksum, @@lower_case_table_names")
            self._tables = LogTables(frozenset(marks.wanted), session.mariadb, folded=case != 0)
        finally:
            session.close()
        self._checksum = checksum not in ("NONE", b"NONE")
        self._number = number
        self._dump = BinlogDump(self.settings, file, position)
        self._heard = time.monotonic()
        self.base = self.position = begin
        self._queues.begin(topic, first)

    def _receive(self) -> bool:
        """Take in what has come; whether anything did."""
        assert self._dump is not None
        data = self._dump.events(CHUNK_BYTES, WAIT)
        now = time.monotonic()
        if data:
            self._heard = now
        elif now - self._heard > SILENT_SECONDS:
            raise SourceError(f"MySQL at {self.settings.where}: nothing came for {SILENT_SECONDS:.0f} s")
        for part in _by_file(data):
            self._take_in(part)
        return bool(data)

    def _take_in(self, data: bytes) -> None:
        """Events of which the last one, at most, begins a file."""
        events = split(data, Place(f"binlog file {self._number:06d}", 0), checksum=self._checksum)
        ends = self._ends_of(events)
        begins = len(events) > 0 and events.kind[-1] == types.FORMAT_DESCRIPTION
        there = np.flatnonzero(ends[: len(events) - begins] >= 0)
        if len(there):
            self._open.append((events.only(there), ends[there]))
            if may_end(events) or len(self._open) == 1:
                self._sort_open()
        if begins:
            # A transaction that a crash left unfinished at the end of a file was never committed.
            self._open.clear()
            self._begin_file(events)
            self.position = max(self.position, int(ends[-1]))
        # A heartbeat tells a place in the file of its time: one before a ROTATE says nothing of the next file.
        quiet = events.of_kind(types.HEARTBEAT)
        quiet = quiet[quiet > max(events.of_kind(types.ROTATE), default=-1)]
        if len(quiet) and not self._open:
            self.position = max(self.position, offset_of(self._number, int(events.next[quiet[-1]])))

    def _begin_file(self, events: Events) -> None:
        """What the last of these events says of its file. Raises LostOffsetsError for another than was read before."""
        described, born = format_description(events.body(len(events) - 1)), int(events.time[-1])
        self._checksum = described.checksum
        known = marks_of(self.settings).born.setdefault(self._number, born)
        if known != born:
            raise lost_log(self.settings, f"the file {self._number:06d} is another one than the one that was read")
        self._tables.forget()

    def _ends_of(self, events: Events) -> Whole:
        """The offsets where events end; -1 of those that are in no file."""
        made_up = (events.next == 0) | (events.flags & types.ARTIFICIAL != 0) | np.isin(events.kind, HEARTBEATS)
        ends = np.where(made_up, -1, events.next)
        for i in np.flatnonzero(made_up & (events.kind == types.ROTATE)):
            # Where a file ends, the server says so, and then the name of the one that follows.
            number = number_of(rotate(events.body(int(i))).file)
            if number != self._number:
                ends[:i] = np.where(ends[:i] >= 0, self._offsets(ends[:i]), -1)
                self._number = number
                later = self._ends_of(events.only(np.arange(i + 1, len(events))))
                if not self._open and not (ends[:i] >= 0).any():
                    self.position = max(self.position, offset_of(number, FIRST_POSITION))
                return np.concatenate([ends[:i], [-1], later])
        return np.where(ends >= 0, self._offsets(ends), -1)

    def _offsets(self, ends: Whole) -> Whole:
        """A position has 32 bits in an event; a file with a large transaction is longer."""
        last = int(self._open[-1][1][-1]) if self._open else self.position
        number, reached = place_of(last)
        reached = reached if number == self._number else 0
        there = np.flatnonzero(ends >= 0)
        found = ends[there] + (reached >> 32 << 32)
        found += np.cumsum(found < np.concatenate(([reached], found[:-1]))) << 32
        offsets = ends.copy()
        offsets[there] = found + offset_of(self._number, 0)
        return offsets

    def _sort_open(self) -> None:
        """Move the transactions that are whole to the tables that they changed."""
        events = _joined([part for part, _ in self._open])
        ends = np.concatenate([part for _, part in self._open])
        found = transactions(events)
        whole = found.whole
        if not whole:
            return
        rest = np.arange(whole, len(events))
        self._open = [(events.only(rest), ends[rest])] if len(rest) else []
        done = np.arange(whole)
        begin = found.begin[done]
        size = events.stop - events.start + types.HEADER + (types.CHECKSUM if self._checksum else 0)
        offset, moment = (ends - size)[begin], events.time[begin] * 1000
        stretch = Stretch(events.only(done), offset, moment, found)
        for topic, pieces in self._tables.sort(stretch).items():
            for piece in pieces:
                self._queues.add(topic, piece)
        self._ends.append(ends[done][~found.open[done]])
        self.position = max(self.position, int(ends[whole - 1]))


def _by_file(data: bytes) -> list[bytes]:
    """The events cut behind each first one of a file, which says whether those behind it have checksums."""
    view = np.frombuffer(data, np.uint8)
    count = int(count_events(view, 0))
    if count < 0:
        return [data]
    found = np.empty((7, count), np.int64)
    fill_events(view, found)
    edges = [0, *found[4][found[0] == types.FORMAT_DESCRIPTION].tolist(), len(data)]
    return [data[low:high] for low, high in itertools.pairwise(edges) if low < high]


def file_born(settings: MySqlSettings, file: str) -> int:
    """When the server began this file of the binlog, in seconds since 1970, as its first event says.

    Raises SourceError, LostOffsetsError where there is no such file.
    """
    dump, deadline = BinlogDump(settings, file, FIRST_POSITION), time.monotonic() + SILENT_SECONDS
    try:
        while time.monotonic() < deadline:
            data = dump.events(1, WAIT)
            view = np.frombuffer(data, np.uint8)
            found = np.empty((7, max(0, int(count_events(view, 0)))), np.int64)
            fill_events(view, found)
            born = found[1][found[0] == types.FORMAT_DESCRIPTION]
            if len(born):
                return int(born[0])
    finally:
        dump.close()
    raise SourceError(f"MySQL at {settings.where}: nothing came of the log's file {file}")


def _joined(parts: list[Events]) -> Events:
    """All events, of one array of bytes."""
    if len(parts) == 1:
        return parts[0]
    sizes = np.array([len(part.data) for part in parts])
    moves = np.repeat(np.cumsum(sizes) - sizes, [len(part) for part in parts])
    kind, time, server, start, stop, following, flags = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("kind", "time", "server", "start", "stop", "next", "flags")
    )
    data = np.concatenate([part.data for part in parts])
    return Events(data, parts[0].place, kind, time, server, start + moves, stop + moves, following, flags)


_STREAMS: Final[dict[MySqlSettings, BinlogStream]] = {}
_LOCK: Final = threading.Lock()


def stream_of(settings: MySqlSettings) -> BinlogStream:
    """The stream that this process has of the server."""
    with _LOCK:
        return _STREAMS.setdefault(settings, BinlogStream(settings))


def close_streams(settings: MySqlSettings) -> None:
    """End the connection of the server's stream."""
    with _LOCK:
        stream = _STREAMS.pop(settings, None)
    if stream is not None:
        with stream.lock:
            stream.close()
