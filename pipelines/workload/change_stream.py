"""A made-up orders table and its change stream, as Debezium envelopes or plain rows: the same seed, the same bytes.

A row lives in one of `keys` places. Each change picks a place: an empty one gets a new row, a full one is updated,
deleted, or moves its row to another key. Beside the changes there are tombstones, replays (the connector sends its last
messages again, with their old positions) and poison (values that nobody can decode).
"""

import itertools
import random
import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from .orders import MessageEncoder, Op, OrderRow, random_row

Message = tuple[int, bytes, bytes | None]

REPLAYED_AT_ONCE: Final = 50


@dataclass(frozen=True, kw_only=True)
class Workload:
    """`changes` counts inserts, updates, deletes and key changes; `replays` and `poison` are messages beside them.

    Shares are of `changes`, 0 to 1. `after` is how much the topic holds already: positions go on from there.
    """

    changes: int = 100_000
    keys: int = 20_000
    deletes: float = 0.05
    key_changes: float = 0.01
    replays: float = 0.01
    poison: float = 0.0001
    partitions: int = 4
    seed: int = 7
    format: Literal["debezium", "upsert", "maxwell", "goldengate"] = "debezium"
    after: int = 0


class Stream:
    """The messages of a workload, and in `rows` the table that they lead to; may go on after its end.

    `counts` has what was made: inserts, updates, deletes, key_changes, tombstones, replays, poison.
    """

    def __init__(self, workload: Workload, encoder: MessageEncoder) -> None:
        self.workload = workload
        self.rows: dict[int, OrderRow] = {}
        self.counts = dict.fromkeys(
            ("inserts", "updates", "deletes", "key_changes", "tombstones", "replays", "poison"), 0
        )
        self._encoder = encoder
        self._random = random.Random(f"{workload.seed}/{workload.after}")
        self._keys: list[int | None] = [None] * workload.keys
        self._next_key = workload.keys + 1 + workload.after
        self._clock = workload.after
        self._recent: deque[list[Message]] = deque(maxlen=REPLAYED_AT_ONCE)

    def messages(self, changes: int | None = None) -> Iterator[Message]:
        """(partition, key, value) in the order to send them; a null value is a tombstone."""
        chance = self._random.random
        replay = self.workload.replays * 2 / REPLAYED_AT_ONCE
        for _ in range(self.workload.changes if changes is None else changes):
            group = self._change()
            self._recent.append(group)
            yield from group
            if chance() < self.workload.poison:
                yield self._poison()
            if chance() < replay:
                yield from self._replay()

    def _change(self) -> list[Message]:
        """The messages of one change, which nothing may part: a delete and its tombstone stand together."""
        place = int(self._random.random() * len(self._keys))
        key = self._keys[place]
        self._clock += 1
        if key is None:
            self.counts["inserts"] += 1
            self._keys[place] = place + 1
            return [self._upsert("c", place + 1)]
        share = self._random.random() - self.workload.deletes
        if share < 0:
            self.counts["deletes"] += 1
            self._keys[place] = None
            return self._delete(key)
        if share < self.workload.key_changes:
            self.counts["key_changes"] += 1
            self._keys[place] = self._next_key
            self._next_key += 1
            if not self._encoder.tombstones:
                return [self._upsert("u", self._next_key - 1, self.rows.pop(key))]
            return [*self._delete(key), self._upsert("c", self._next_key - 1)]
        self.counts["updates"] += 1
        return [self._upsert("u", key)]

    def _upsert(self, op: Op, key: int, left: OrderRow | None = None) -> Message:
        """A row under a key; `left` is the row that it was, under another."""
        before = left or self.rows.get(key)
        row = self.rows[key] = random_row(key, self._clock, self._random)
        return self._message(key, self._value(op, row, before))

    def _value(self, op: Op, row: OrderRow, before: OrderRow | None = None) -> bytes:
        if self.workload.format == "upsert":
            return self._encoder.row(row)
        told = None if self._encoder.tombstones else before
        return self._encoder.envelope(op, told, row, (self._clock, 1))

    def _delete(self, key: int) -> list[Message]:
        row = self.rows.pop(key)
        if not self._encoder.tombstones:
            return [self._message(key, self._encoder.envelope("d", row, None, (self._clock, 0)))]
        self.counts["tombstones"] += 1
        tombstone = self._message(key, None)
        if self.workload.format == "upsert":
            return [tombstone]
        return [self._message(key, self._encoder.envelope("d", row, None, (self._clock, 0))), tombstone]

    def _message(self, key: int, value: bytes | None) -> Message:
        encoded = self._encoder.key(key)
        return zlib.crc32(encoded) % self.workload.partitions, encoded, value

    def _replay(self) -> Iterator[Message]:
        back = int(self._random.random() * len(self._recent))
        for group in itertools.islice(self._recent, back, None):
            self.counts["replays"] += len(group)
            yield from group

    def _poison(self) -> Message:
        """A message with a key of the table and a value that cannot be decoded."""
        self.counts["poison"] += 1
        key = 1 + int(self._random.random() * len(self._keys))
        good = self._value("u", random_row(key, self._clock, self._random))
        partition, encoded, _ = self._message(key, None)
        kinds = (b"", b"\x00", b"\x07" + good[1:], b"\x00\x7f\xff\xff\xff" + good[5:], good[:7], good + b"!")
        return partition, encoded, kinds[self.counts["poison"] % len(kinds)]
