"""Chunks of several tables that are read at once: before they are asked for, a thread a table."""

import queue
import threading
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, Protocol

from ...schemas.errors import MillraceError
from ...schemas.model.block import Block
from ...schemas.model.ledger import OffsetRange, TopicPartition

WAIT_SECONDS: Final = 0.2


class ChunkReader(Protocol):
    """Reads the chunks of one table."""

    next: int

    def chunk(self) -> Block:
        """The chunk at `next`. Raises SourceError, LostOffsetsError."""

    def close(self) -> None:
        """End the connection."""


@dataclass(slots=True)
class _Ahead:
    """What was read of one table, from `next` on; an error ends it."""

    next: int
    stop: int
    found: "queue.Queue[Block | MillraceError]" = field(default_factory=queue.Queue)
    done: "Future[None] | None" = None


class ReadAhead:
    """What is read ahead of the tables of a source in one pass; any thread may ask.

    A pass bounds what its tables read, so that all of it may wait here.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tables: dict[TopicPartition, _Ahead] = {}
        self._stopped = threading.Event()
        self._pool: ThreadPoolExecutor | None = None

    def begin(self, parallel: int, ranges: Iterable[OffsetRange], reader: Callable[[OffsetRange], ChunkReader]) -> None:
        """Read these ranges of copies, so many at once; what an earlier pass has left is forgotten."""
        self.close()
        with self._lock:
            self._stopped = stopped = threading.Event()
            self._pool = ThreadPoolExecutor(parallel, thread_name_prefix="millrace-copy")
            for span in ranges:
                ahead = _Ahead(span.first, span.stop)
                ahead.done = self._pool.submit(_read, ahead, reader(span), stopped)
                self._tables[TopicPartition(span.topic, span.partition)] = ahead

    def take(self, partition: TopicPartition, first: int) -> Block | None:
        """The block at this offset; None where it is not read here. Raises what its reading has raised."""
        with self._lock:
            ahead = self._tables.get(partition)
        if ahead is None or ahead.done is None or ahead.next != first or ahead.done.cancel():
            # Whoever asks for a table before its turn has come reads it.
            self._forget(partition)
            return None
        while True:
            try:
                found = ahead.found.get(timeout=WAIT_SECONDS)
            except queue.Empty:
                if ahead.done.done() and ahead.found.empty():
                    self._forget(partition)
                    return None
                continue
            break
        if isinstance(found, MillraceError):
            self._forget(partition)
            raise found
        ahead.next = found.stop
        return found

    def _forget(self, partition: TopicPartition) -> None:
        with self._lock:
            self._tables.pop(partition, None)

    def close(self) -> None:
        """End the reading; may be called twice."""
        with self._lock:
            self._stopped.set()
            pool, self._pool = self._pool, None
            self._tables.clear()
        if pool is not None:
            pool.shutdown(cancel_futures=True)


_AHEAD: Final[dict[Hashable, ReadAhead]] = {}
_LOCK: Final = threading.Lock()


def ahead_of(settings: Hashable) -> ReadAhead:
    """What this process reads ahead of this source."""
    with _LOCK:
        return _AHEAD.setdefault(settings, ReadAhead())


def _read(ahead: _Ahead, reader: ChunkReader, stopped: threading.Event) -> None:
    try:
        while reader.next < ahead.stop and not stopped.is_set():
            block = reader.chunk()
            reader.next = block.stop
            ahead.found.put(block)
    except MillraceError as error:
        ahead.found.put(error)
    finally:
        reader.close()
