"""Consumers that outlive the readers that use them.

A runner may build a new reader for each bundle, even before it has finalized the last one, and a Kafka consumer costs a
thread and several connections. So a reader borrows its consumer from this pool of the process.
"""

import atexit
import threading
import time
from dataclasses import dataclass
from typing import Any, Final

from kafka import KafkaConsumer
from kafka import TopicPartition as KafkaPartition

from ....schemas.model.ledger import TopicPartition
from .client import open_consumer, position, seek
from .settings import KafkaSettings

IDLE_SECONDS: Final = 60.0
IDLE_CONSUMERS: Final = 256


@dataclass(slots=True, eq=False)
class PooledConsumer:
    """A consumer assigned to one partition; `next` is the offset that its reader comes to next."""

    settings: KafkaSettings
    source: TopicPartition
    next: int
    consumer: KafkaConsumer
    since: float = 0.0

    @property
    def partition(self) -> Any:
        return KafkaPartition(self.source.topic, self.source.partition)


class ConsumerPool:
    """Thread-safe. `created` counts the consumers ever opened."""

    def __init__(self) -> None:
        self.created = 0
        self._idle: list[PooledConsumer] = []
        self._lock = threading.Lock()

    def acquire(self, settings: KafkaSettings, source: TopicPartition, start: int, epoch: int = -1) -> PooledConsumer:
        """A consumer that goes on at `start`: the one that stopped there, else an idle or a new one.

        `epoch` is the leader's of the batch before `start`, -1 where it is unknown. Raises as `open_consumer`.
        """
        self._close_stale()
        with self._lock:
            found = self._take(settings, source, start)
            self.created += found is None
        if found is None:
            found = PooledConsumer(settings, source, -1, open_consumer(settings))
            found.consumer.assign([found.partition])
        elif found.source != source:
            found.source, found.next = source, -1
            found.consumer.assign([found.partition])
        if found.next != start or position(found.consumer, found.partition) != start:
            seek(found.consumer, found.partition, start, epoch)
            found.next = start
        return found

    def release(self, pooled: PooledConsumer) -> None:
        """Give a consumer back for the next reader."""
        pooled.since = time.monotonic()
        with self._lock:
            self._idle.append(pooled)
        self._close_stale()

    def close(self) -> None:
        """Close every idle consumer."""
        with self._lock:
            idle, self._idle = self._idle, []
        for pooled in idle:
            pooled.consumer.close(autocommit=False)

    def _take(self, settings: KafkaSettings, source: TopicPartition, start: int) -> PooledConsumer | None:
        mine = [pooled for pooled in self._idle if pooled.settings == settings]
        ranked = sorted(mine, key=lambda pooled: (pooled.source != source, pooled.next != start, pooled.since))
        if not ranked or (ranked[0].source != source and len(mine) < IDLE_CONSUMERS):
            return None
        self._idle.remove(ranked[0])
        return ranked[0]

    def _close_stale(self) -> None:
        deadline = time.monotonic() - IDLE_SECONDS
        with self._lock:
            stale = [pooled for pooled in self._idle if pooled.since < deadline]
            self._idle = [pooled for pooled in self._idle if pooled.since >= deadline]
            stale += self._idle[:-IDLE_CONSUMERS]
            self._idle = self._idle[-IDLE_CONSUMERS:]
        for pooled in stale:
            pooled.consumer.close(autocommit=False)


POOL: Final = ConsumerPool()
atexit.register(POOL.close)
