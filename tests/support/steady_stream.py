"""A steady stream of changes into Kafka, with an oracle of its own: updates, deletes, replays, poison."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from kafka import KafkaProducer

from support.jobs import event, key
from support.processes import until

KEYS = 150
PAUSE = 0.05
DELETES, REPLAYS, POISON = 0.1, 0.05, 0.002


class SteadyStream:
    """A thread that sends about `rate` messages a second to `topic`; a key's partition is the key modulo `partitions`.

    `messages` and `poison` count what the broker has acknowledged. The oracle is a dictionary by key that keeps the
    change of the highest position, whatever the order in which changes are sent.
    """

    def __init__(self, servers, topic, partitions, rate=200, seed=1):
        self.topic, self.partitions = topic, partitions
        self._each = round(rate * PAUSE)
        self._random = random.Random(seed)
        self._newest = {}
        self._sent = []
        self._at = 100
        self.messages = self.poison = 0
        self._going, self._idle, self._ended = threading.Event(), threading.Event(), threading.Event()
        self._producer = KafkaProducer(
            bootstrap_servers=servers,
            acks="all",
            enable_idempotence=True,
            delivery_timeout_ms=300_000,
            linger_ms=5,
            metadata_max_age_ms=2_000,
        )
        self._pool = ThreadPoolExecutor(1)

    def __enter__(self):
        self._running = self._pool.submit(self._run)
        self.resume()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._going.set()
        self._pool.shutdown()
        self._producer.close()

    def resume(self):
        self._idle.clear()
        self._going.set()

    def pause(self):
        """Send nothing more; returns when the broker has acknowledged everything."""
        self._going.clear()
        assert until(lambda: self._idle.is_set() or self._running.done(), 330), "the producer does not come to rest"
        if self._running.done():
            self._running.result()

    def widen(self, partitions):
        """Send to so many partitions from now on: as soon as the producer knows of them."""
        deadline = time.monotonic() + 60
        while len(self._producer.partitions_for(self.topic) or ()) < partitions:
            assert time.monotonic() < deadline, "the producer does not see the new partitions"
            time.sleep(0.2)
        self.partitions = partitions

    def rows(self):
        """(id, name, count) of the rows that a table must hold now."""
        return sorted(row for _, row in self._newest.values() if row is not None)

    def _run(self):
        while not self._ended.is_set():
            if self._going.is_set():
                self._send([self._message() for _ in range(self._each)])
                time.sleep(PAUSE)
            else:
                self._idle.set()
                self._going.wait()

    def _send(self, messages):
        futures = []
        for number, at, value, row in messages:
            futures.append(
                self._producer.send(self.topic, key=key(number), value=value, partition=number % self.partitions)
            )
            if at is None:
                self.poison += 1
            elif at >= self._newest.get(number, (0, None))[0]:
                self._newest[number] = (at, row)
        self._producer.flush()
        for future in futures:
            future.get(330)
        self.messages += len(futures)

    def _message(self):
        """(key, position or None, value, row or None)."""
        chance, number = self._random.random(), self._random.randrange(KEYS)
        if chance < POISON:
            return number, None, b"poison", None
        if chance < POISON + REPLAYS and self._sent:
            return self._random.choice(self._sent)
        self._at += 1
        row = None if chance > 1 - DELETES else (number, f"v{self._at}", self._at % 1000)
        made = (
            event("d", number, at=self._at)
            if row is None
            else event("u", number, f"v{self._at}", self._at % 1000, self._at)
        )
        self._sent.append((number, self._at, made, row))
        return self._sent[-1]
