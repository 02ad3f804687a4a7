"""One partition, read as contiguous blocks."""

import math
import time
from collections.abc import Sequence
from functools import partial
from typing import Final

from kafka.errors import AuthorizationError, CorruptRecordError, KafkaError, LogTruncationError, OffsetOutOfRangeError

from ....schemas.errors import DeniedTopicsError, LostOffsetsError, SourceError
from ....schemas.model.block import Block
from ....schemas.model.ledger import TopicPartition
from ...retry import STOPPING, Backoff, Retry, retried
from ..source import PATIENCE_SECONDS, log_cut_short, lost_offsets
from .client import LOGGER, Run, epoch, position, until
from .connection_faults import denied_topics, refused
from .consumer_pool import POOL, PooledConsumer
from .log_tail import NO_EPOCH, LogTail, tail_of
from .settings import KafkaSettings

BLOCK_BYTES: Final = 2 << 20
_LINGER_MS: Final = 50
_PROBE_SECONDS: Final = 2.0
_LONGEST_PROBE_SECONDS: Final = 30.0
_PROBE_TIMEOUT_MS: Final = 5_000


class PartitionReader:
    """Reads the offsets [first, stop) of a partition in order; `stop` None reads on for ever.

    `next` is the offset after the last block returned. A broker that does not answer is tried again, with
    warnings on the logger `millrace`, for `patience` seconds (`math.inf`: for ever); then SourceError. Not thread-safe.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        source: TopicPartition,
        first: int,
        stop: int | None,
        patience: float = PATIENCE_SECONDS,
        tail: str = "",
    ) -> None:
        self.next = first
        self._tail = LogTail.of_text(tail) if tail else LogTail(-1)
        self._settings = settings
        self._source = source
        self._stop = stop
        self._patience = patience
        self._pooled: PooledConsumer | None = None
        self._quiet_since: float | None = None
        self._probe_at = 0.0

    @property
    def done(self) -> bool:
        """Whether the blocks returned reach `stop`."""
        return self._stop is not None and self.next >= self._stop

    @property
    def end(self) -> int | None:
        """The end of the partition in the broker's last answer; None before the first."""
        if self._pooled is None:
            return None
        found: int | None = self._pooled.consumer.highwater(self._pooled.partition)
        return found

    @property
    def at_end(self) -> bool:
        """Whether the blocks returned reach `end`; false before the broker's first answer."""
        return self.end is not None and self.next >= self.end

    def read(self, wait: float) -> Block | None:
        """The next block, or None where nothing came within about `wait` seconds.

        About 2 to 6 MB; less at the end of the log. It may hold no data at all where the offsets are control
        records, aborted or compacted away. Raises LostOffsetsError, SourceError, JobError.
        """
        if self.done:
            return None
        pooled = self._connected()
        runs, reached = self._poll_runs(pooled, wait)
        if reached == self.next:
            self._explain_silence(pooled)
            return None
        self._quiet_since = None
        stop = reached if self._stop is None else min(reached, self._stop)
        data = b"".join(run.data for run in runs)
        data = until(data, stop)
        # A reader that ends inside what was fetched has read less than the consumer's position says.
        self._tail = tail_of(data, stop, epoch(pooled.consumer, pooled.partition) if stop == reached else None)
        place = (self._source.topic, self._source.partition, self.next, stop)
        self.next = pooled.next = stop
        return Block(*place, data, tail=self._tail.text)

    def close(self) -> None:
        """Hand the consumer back; the reader may be used again."""
        pooled, self._pooled = self._pooled, None
        if pooled is not None:
            POOL.release(pooled)

    def _disconnect(self) -> None:
        """The next read goes by way of `bootstrap_servers` again: the brokers that were known may all have gone."""
        pooled, self._pooled = self._pooled, None
        if pooled is not None:
            pooled.consumer.close(autocommit=False)

    def _poll_runs(self, pooled: PooledConsumer, wait: float) -> tuple[list[Run], int]:
        """Runs from `next` on, and the offset that they reach, which may pass offsets without a record.

        Waits `wait` seconds for the first, and 50 ms for each more, until a block is full; a reader without a stop
        returns as soon as it has all there is.
        """
        runs: list[Run] = []
        size, reached = 0, self.next
        deadline = time.monotonic() + wait
        while size < BLOCK_BYTES and (self._stop is None or reached < self._stop):
            left = max(0, round(1000 * (deadline - time.monotonic())))
            got = self._poll(pooled, min(left, _LINGER_MS) if reached > self.next else left)
            before, reached = reached, position(pooled.consumer, pooled.partition)
            runs += got
            size += sum(len(run.data) for run in got)
            if reached == before and (reached > self.next or time.monotonic() >= deadline):
                break
            if self._stop is None and self.next < reached == pooled.consumer.highwater(pooled.partition):
                break
        return runs, reached

    def _poll(self, pooled: PooledConsumer, timeout_ms: int) -> Sequence[Run]:
        try:
            found: Sequence[Run] = pooled.consumer.poll(timeout_ms).get(pooled.partition, ())
        except OffsetOutOfRangeError as error:
            raise self._lost(pooled) from error
        except LogTruncationError as error:
            there = error.divergent_offsets.get(pooled.partition)
            raise log_cut_short(self._source, 0 if there is None else there.offset) from error
        except AuthorizationError as error:
            raise DeniedTopicsError(f"{self._source}: {refused(error)}", denied_topics(error)) from error
        except CorruptRecordError as error:
            raise SourceError(f"{self._source} cannot be read at offset {self.next}: {error}") from error
        except KafkaError as error:
            if not error.retriable:
                raise SourceError(f"{self._source} cannot be read at offset {self.next}: {error!r}") from error
            return ()
        return found

    def _connected(self) -> PooledConsumer:
        if self._pooled is None:
            retry = Retry(Backoff(1.0, 30.0, self._patience, by_clock=True), (SourceError,))
            known = self._tail.epoch if self._tail.at == self.next else NO_EPOCH
            acquire = partial(POOL.acquire, self._settings, self._source, self.next, known)
            self._pooled = retried(str(self._source), acquire, retry)
        return self._pooled

    def _explain_silence(self, pooled: PooledConsumer) -> None:
        """Find out why nothing comes: nothing is there, the broker is away, or the offsets are gone."""
        if self._stop is not None and STOPPING.is_set():
            raise SourceError(f"{self._source}: the run was told to end while it waited for offset {self.next}")
        now = time.monotonic()
        if self._quiet_since is None:
            self._quiet_since, self._probe_at = now, now + _PROBE_SECONDS
        quiet = now - self._quiet_since
        if now < self._probe_at:
            return
        try:
            end = self._end(pooled)
        except KafkaError as error:
            said = f"no answer about {self._source} from {self._settings.bootstrap_servers} for {quiet:.0f} s ({error})"
            self._disconnect()
        else:
            if end < self.next or (self._stop is not None and end < self._stop):
                raise self._lost(pooled)
            if self._stop is None:
                self._quiet_since = None
                return
            said = f"no records of {self._source} from offset {self.next} for {quiet:.0f} s"
        if quiet > self._patience:
            raise SourceError(f"{said}; check the broker, then run again: it goes on where it stopped")
        left = f" for {self._patience - quiet:.0f} s" if self._patience < math.inf else ""
        LOGGER.warning("%s; trying again%s", said, left)
        self._probe_at = time.monotonic() + min(max(_PROBE_SECONDS, quiet), _LONGEST_PROBE_SECONDS)

    def _lost(self, pooled: PooledConsumer) -> LostOffsetsError:
        where, wanted = f"{self._source}", f"offset {self.next}"
        try:
            low = pooled.consumer.beginning_offsets([pooled.partition], _PROBE_TIMEOUT_MS)[pooled.partition]
            high = self._end(pooled)
        except KafkaError:
            return LostOffsetsError(f"{where}: {wanted} is gone, and the broker does not say what it still holds")
        return lost_offsets(self._source, self.next, low, high)

    def _end(self, pooled: PooledConsumer) -> int:
        """The partition's end. Tansu 0.6 answers with an offset in the last batch; then the last fetch knows better."""
        end: int = pooled.consumer.end_offsets([pooled.partition], _PROBE_TIMEOUT_MS)[pooled.partition]
        return max(end, pooled.consumer.highwater(pooled.partition) or 0)
