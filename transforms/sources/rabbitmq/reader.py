"""One stream, read as contiguous blocks of raw chunks."""

import math
import time
from typing import Final

from ....schemas.errors import DeniedTopicsError, SourceError
from ....schemas.model.block import Block
from ....schemas.model.ledger import TopicPartition
from ...retry import STOPPING, Backoff, Retry, retried
from ..source import LOGGER, PATIENCE_SECONDS, log_cut_short, lost_offsets
from .chunk_header import Header, of_tail
from .connecting import connected
from .connection import AT_OFFSET, DENIED, AnswerError, Place, StreamConnection
from .names import stream_of
from .options import RabbitmqOptions
from .stream_bounds import bounds, other_log_since

BLOCK_BYTES: Final = 2 << 20
CREDIT: Final = 16
"""Chunks that the server may send ahead."""
LINGER_SECONDS: Final = 0.05
PROBE_SECONDS: Final = 2.0
_READ: Final = 1
"""The number of the subscription."""


class StreamPartitionReader:
    """Reads the offsets [first, stop) of a stream in order; `stop` None reads on for ever.

    `next` is the offset after the last block returned. A server that does not answer is tried again, with warnings
    on the logger `millrace`, for `patience` seconds (`math.inf`: for ever); then SourceError. Not thread-safe.
    """

    def __init__(
        self,
        options: RabbitmqOptions,
        source: TopicPartition,
        span: tuple[int, int | None],
        patience: float = PATIENCE_SECONDS,
        tail: str = "",
    ) -> None:
        self.next, self._stop = span
        self.end: int | None = None
        self._options = options
        self._source = source
        self._patience = patience
        self._tail = tail
        self._stream = ""
        self._connection: StreamConnection | None = None
        self._quiet_since: float | None = None
        self._drained = False

    @property
    def done(self) -> bool:
        """Whether the blocks returned reach `stop`."""
        return self._stop is not None and self.next >= self._stop

    @property
    def at_end(self) -> bool:
        """Whether the blocks returned reach the end: the server has sent no more."""
        return self.end is not None and self.next >= self.end and self._drained

    def read(self, wait: float) -> Block | None:
        """The next block, or None where nothing came within about `wait` seconds.

        About 2 MB, less at the end of the stream; offsets without a message (RabbitMQ keeps notes of its own in the
        log) belong to the block that follows them. Raises LostOffsetsError, SourceError, JobError.
        """
        if self.done:
            return None
        connection = self._subscribed()
        try:
            chunks = self._chunks(connection, wait)
            if not chunks:
                self._explain_silence(connection)
                return None
        except DeniedTopicsError:
            raise
        except SourceError as error:
            if isinstance(error, AnswerError) or not self._broken(error):
                raise
            return None
        self._quiet_since = None
        header = Header.of(chunks[-1])
        stop = header.stop if self._stop is None else min(header.stop, self._stop)
        self._tail = header.tail
        place = (self._source.topic, self._source.partition, self.next, stop)
        self.next = stop
        self.end = max(self.end or 0, stop)
        return Block(*place, b"".join(chunks), tail=self._tail)

    def close(self) -> None:
        """End the connection; the reader may be used again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _chunks(self, connection: StreamConnection, wait: float) -> list[bytes]:
        """Chunks from `next` on: as many as make a block, or as came without a pause."""
        chunks: list[bytes] = []
        size, reached = 0, self.next
        self._drained = False
        while size < BLOCK_BYTES and (self._stop is None or reached < self._stop):
            chunk = connection.chunk(_READ, LINGER_SECONDS if chunks else wait)
            if chunk is None:
                self._drained = True
                break
            connection.credit(_READ, 1)
            header = Header.of(chunk)
            if header.first > reached:
                self._check_gap(connection, reached)
            if header.stop <= reached:
                continue
            chunks.append(chunk)
            size += len(chunk)
            reached = header.stop
        return chunks

    def _check_gap(self, connection: StreamConnection, reached: int) -> None:
        """Offsets that the server passed over were its own notes, unless retention has come so far."""
        low, high = bounds(connection, self._stream)
        if reached < low:
            raise lost_offsets(self._source, reached, low, high)

    def _subscribed(self) -> StreamConnection:
        if self._connection is None:
            retry = Retry(Backoff(1.0, 30.0, self._patience, by_clock=True), (SourceError,), lasts=_lasts)
            self._connection = retried(str(self._source), self._open, retry)
        return self._connection

    def _open(self) -> StreamConnection:
        """A connection to the stream's node that is subscribed at `next`, once it is known to hold that offset."""
        self._stream = self._stream or stream_of(self._options, self._source)
        connection = connected(self._options, self._stream)
        try:
            low, high = bounds(connection, self._stream)
            if not low <= self.next <= high or (self._stop or 0) > high:
                raise lost_offsets(self._source, self.next, low, high)
            since = other_log_since(connection, self._stream, of_tail(self._tail)) if self._tail else None
            if since is not None:
                raise log_cut_short(self._source, since)
            connection.subscribe(_READ, self._stream, Place(AT_OFFSET, self.next), CREDIT)
        except AnswerError as error:
            connection.close()
            if error.code == DENIED:
                raise DeniedTopicsError(f"{self._source}: {error}", {self._source.topic}) from None
            raise
        except SourceError:
            connection.close()
            raise
        self.end = high
        return connection

    def _broken(self, error: SourceError) -> bool:
        """Let go of a connection that broke; the next read makes another one. Whether that is what happened."""
        if type(error) is not SourceError:
            return False
        LOGGER.warning("%s: %s; connecting again", self._source, error)
        self.close()
        return True

    def _explain_silence(self, connection: StreamConnection) -> None:
        """Find out why nothing comes: nothing is there, the stream has moved or gone, or offsets are gone."""
        if self._stop is not None and STOPPING.is_set():
            raise SourceError(f"{self._source}: the run was told to end while it waited for offset {self.next}")
        if self._stream in connection.lost:
            # Its leader has moved, or it was deleted: connecting again tells.
            self.close()
            return
        now = time.monotonic()
        self._quiet_since = self._quiet_since or now
        if now - self._quiet_since < PROBE_SECONDS:
            return
        low, high = bounds(connection, self._stream)
        self.end = high
        if high < max(self.next, self._stop or 0) or self.next < low:
            raise lost_offsets(self._source, self.next, low, high)
        quiet = now - self._quiet_since
        if high == self.next:
            self._quiet_since = None
        elif quiet > min(self._patience, PATIENCE_SECONDS):
            said = f"no messages of {self._source} from offset {self.next} for {quiet:.0f} s"
            if self._patience < math.inf:
                raise SourceError(f"{said}; check the server, then run again: it goes on where it stopped")
            LOGGER.warning("%s; connecting again", said)
            self.close()


def _lasts(error: Exception) -> bool:
    """Errors that another try does not mend."""
    return type(error) is not SourceError and not (isinstance(error, AnswerError) and error.code != DENIED)
