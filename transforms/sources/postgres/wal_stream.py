"""The log of a slot, read once for all tables of a job: each table's records wait until its reader takes them.

A slot sends the log of the whole publication to one reader at a time, while a job reads each table for itself. The
readers of a process therefore share one stream (`stream_of`).
"""

import logging
import select
import threading
import time
from collections import defaultdict, deque
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..log_records import OFFSET, packed
from ..table_queues import BLOCK_BYTES, Piece, TableQueues
from .blocks import TableSchema
from .client import STREAM, PostgresSettings, Session, lost_slot
from .history import Line
from .slot_stream import Messages, SlotStream
from .tables import key_of, slot_of, tables
from .type_names import typed_columns

LOGGER: Final = logging.getLogger("millrace")
QUIET_SECONDS: Final = 1.0
BEGIN, COMMIT, RELATION, TRUNCATE = (ord(kind) for kind in "BCRT")
OF_A_ROW: Final = np.isin(np.arange(256), np.frombuffer(b"IUD", np.uint8))
EPOCH_2000: Final = 946_684_800_000
RECENT: Final = 64
"""Readings whose transactions may be such that other sessions do not see yet."""


@dataclass(slots=True)
class Relation:
    """A table as the stream has described it; `topic` is None where no reader can want it."""

    topic: str | None
    schema: bytes


class WalStream:
    """The stream and what waits of it. `position`: all transactions that committed before it were received."""

    def __init__(self, settings: PostgresSettings) -> None:
        self.settings = settings
        self.lock = threading.Lock()
        self._forget()

    def _forget(self) -> None:
        self._stream: SlotStream | None = None
        self._session: Session | None = None
        self._open: tuple[int, int] | None = None
        self._relations: dict[int, Relation] = {}
        self._topics: dict[int, str] = {}
        self._recent: deque[NDArray[np.int64]] = deque(maxlen=RECENT)
        self._queues = TableQueues()
        self._quiet_since: float | None = None
        self.position = 0
        self.base = 0

    def close(self) -> None:
        """End the connections; the stream may be read again, from what the slot has confirmed."""
        stream, session, queues = self._stream, self._session, self._queues
        self._forget()
        for held in (stream, session, queues):
            if held is not None:
                held.close()

    def take(self, topic: str, first: int, stop: int | None, wait: float) -> tuple[int, bytes] | None:
        """The next records of a table and the offset they reach, after at most about `wait` seconds; None for none.

        Raises SourceError, and LostOffsetsError where the slot is past `first`.
        """
        begin = max(first, self.base) if first == STREAM else first
        if self._stream is None or begin < max(self.base, self._queues.served(topic)):
            self._begin(first)
        self._queues.ask(topic)
        deadline = time.monotonic() + wait
        limit = np.iinfo(np.int64).max if stop is None else stop
        while True:
            # A transaction that is still open cannot be taken, however much of it waits.
            full = self._queues.size(topic) >= BLOCK_BYTES and self.position > first
            if full or self.position >= limit:
                break
            if not self._receive(limit) and time.monotonic() >= deadline:
                break
        return self._queues.taken(topic, first, limit, self.position)

    @property
    def line(self) -> Line | None:
        """The server that sends; None before it is asked."""
        return None if self._stream is None else Line(*self._stream.line)

    @property
    def received(self) -> frozenset[int]:
        """The numbers of the transactions that came last."""
        return frozenset(number for numbers in self._recent for number in numbers.tolist())

    def _begin(self, first: int) -> None:
        self.close()
        self._session = Session(self.settings)
        slot = slot_of(self._session, self.settings)
        if slot is None:
            raise lost_slot(self.settings, "is gone")
        if slot.status == "lost":
            raise lost_slot(self.settings, "has lost its WAL (max_slot_wal_keep_size)")
        if first != STREAM and slot.confirmed > first:
            raise lost_slot(self.settings, "has moved past what the target holds")
        self._topics = {table.oid: name for name, table in tables(self._session).items()}
        self._stream = SlotStream(self.settings)
        self.base = self.position = slot.confirmed

    def _receive(self, limit: int) -> bool:
        """Take in what has come; whether anything did. Asks the server how far it is where it is quiet."""
        stream = self._stream
        assert stream is not None and self._session is not None
        before = stream.reached
        messages = stream.messages()
        if len(messages):
            self._quiet_since = None
            self._sort(messages)
        elif stream.reached == before:
            now = time.monotonic()
            if self._quiet_since is None:
                self._quiet_since = now
            elif now - self._quiet_since > QUIET_SECONDS:
                # Where nobody writes, the log's last page may be unsent: a message of our own pushes it out.
                self._quiet_since = now
                self._session.rows("SELECT pg_logical_emit_message(true, 'millrace', '')")
            stream.answer(asking=True)
            select.select([stream.socket], [], [], 0.05)
        if self._open is None:
            self.position = max(self.position, stream.reached)
        return bool(len(messages)) or stream.reached > before

    def _sort(self, messages: Messages) -> None:
        """Move rows to the queues of their tables; a transaction counts as received once its COMMIT is there."""
        data, starts = messages.data, messages.starts[:-1]
        kinds = data[starts]
        commit, moment = self._transactions(data, starts, kinds)
        numbers = _numbers(data, starts + 1)
        rows = OF_A_ROW[kinds]
        by_table: dict[int, list[NDArray[np.int64]]] = defaultdict(list)
        for number in np.unique(numbers[rows]):
            by_table[int(number)].append(np.flatnonzero(rows & (numbers == number)))
        for i in np.flatnonzero(kinds == TRUNCATE):
            for number in _truncated(_message(messages, int(i))):
                by_table[number].append(np.array([i], np.int64))
        described: dict[int, list[int]] = defaultdict(list)
        for i in np.flatnonzero(kinds == RELATION):
            described[int(numbers[i])].append(int(i))
        table = np.column_stack([kinds.astype(np.int64), commit, moment, starts, np.diff(messages.starts)])
        for number in {*by_table, *described}:
            mine = np.sort(np.concatenate(by_table[number])) if by_table[number] else np.empty(0, np.int64)
            changes = described[number]
            edges = [0, *np.searchsorted(mine, changes), len(mine)]
            for place, (low, high) in enumerate(pairwise(edges)):
                if place:
                    self._relations[number] = self._relation(number, _message(messages, changes[place - 1]))
                if low < high:
                    self._wait(self._relations[number], data, np.ascontiguousarray(table[mine[low:high]]))
        self._received(kinds, commit, moment)

    def _transactions(
        self, data: NDArray[np.uint8], starts: NDArray[np.int64], kinds: NDArray[np.uint8]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """By message the LSN of its transaction's commit, which its BEGIN tells, and the commit's time in ms."""
        begins = np.flatnonzero(kinds == BEGIN)
        at = starts[begins]
        self._recent.append(_numbers(data, at + 17))
        commits = _numbers(data, at + 1) << 32 | _numbers(data, at + 5)
        clocks = (_numbers(data, at + 9) << 32 | _numbers(data, at + 13)) // 1000 + EPOCH_2000
        before = self._open or (0, 0)
        which = np.searchsorted(begins, np.arange(len(kinds)), "right")
        return np.concatenate(([before[0]], commits))[which], np.concatenate(([before[1]], clocks))[which]

    def _received(self, kinds: NDArray[np.uint8], commit: NDArray[np.int64], moment: NDArray[np.int64]) -> None:
        ends = np.flatnonzero(kinds == COMMIT)
        begins = np.flatnonzero(kinds == BEGIN)
        if len(ends):
            self.position = max(self.position, int(commit[ends[-1]]) + 1)
            self._open = None
        if len(begins) and (not len(ends) or begins[-1] > ends[-1]):
            self._open = int(commit[-1]), int(moment[-1])

    def _wait(self, relation: Relation, data: NDArray[np.uint8], rows: NDArray[np.int64]) -> None:
        if relation.topic is None:
            return
        piece = b"".join((relation.schema, packed(data, rows)))
        self._queues.add(relation.topic, Piece(int(rows[0, OFFSET]), int(rows[-1, OFFSET]), piece))

    def _relation(self, number: int, message: bytes) -> Relation:
        """What a Relation message says, with the names of types and the key from the catalog."""
        assert self._session is not None
        namespace, name, rest = message[5:].split(b"\0", 2)
        count = int.from_bytes(rest[1:3], "big")
        found: list[tuple[str, int, int]] = []
        p = 3
        for _ in range(count):
            end = rest.index(b"\0", p + 1)
            text = rest[p + 1 : end].decode()
            oid = int.from_bytes(rest[end + 1 : end + 5], "big")
            found.append((text, oid, int.from_bytes(rest[end + 5 : end + 9], "big", signed=True)))
            p = end + 9
        schema = TableSchema(typed_columns(self._session, found), key_of(self._session, number))
        return Relation(self._topic(number, f"{namespace.decode()}.{name.decode()}"), schema.record())

    def _topic(self, number: int, name: str) -> str | None:
        """A table is known by its number: within a transaction, it may have another name for a while.

        None for one that has its name of another table, which the next run finds made anew.
        """
        if number in self._topics:
            return self._topics[number]
        return None if name in self._topics.values() else name


def _numbers(data: NDArray[np.uint8], at: NDArray[np.int64]) -> NDArray[np.int64]:
    """Four bytes at each place, big-endian; the last message of a chunk is longer than that."""
    padded = np.concatenate((data, np.zeros(4, np.uint8)))
    return sum(padded[at + i].astype(np.int64) << (24 - 8 * i) for i in range(4))  # type: ignore[return-value]


def _message(messages: Messages, i: int) -> bytes:
    return messages.data[messages.starts[i] : messages.starts[i + 1]].tobytes()


def _truncated(message: bytes) -> list[int]:
    """The numbers of the tables that a TRUNCATE names."""
    count = int.from_bytes(message[1:5], "big")
    return [int.from_bytes(message[6 + 4 * i : 10 + 4 * i], "big") for i in range(count)]


_STREAMS: Final[dict[PostgresSettings, WalStream]] = {}
_LOCK: Final = threading.Lock()


def stream_of(settings: PostgresSettings) -> WalStream:
    """The stream that this process has of the slot."""
    with _LOCK:
        if settings not in _STREAMS:
            _STREAMS[settings] = WalStream(settings)
        return _STREAMS[settings]


def close_streams(settings: PostgresSettings) -> None:
    """End the connections of the slot's stream."""
    with _LOCK:
        stream = _STREAMS.pop(settings, None)
    if stream is not None:
        with stream.lock:
            stream.close()
