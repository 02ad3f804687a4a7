"""The bench topic: Debezium envelopes of about 120 bytes, encoded in columns so that 32 million take a minute."""

import itertools
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import confluent_kafka
import numba
import numpy as np
from numpy.typing import NDArray

TOPIC_KEY_ID: Final = 1
TOPIC_VALUE_ID: Final = 2
CHUNK: Final = 100_000

ROW: Final[dict[str, Any]] = {
    "type": "record",
    "name": "Value",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "customer", "type": ["null", "string"], "default": None},
        {"name": "quantity", "type": ["null", "int"], "default": None},
        {
            "name": "amount",
            "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}],
            "default": None,
        },
        {
            "name": "updated_at",
            "type": ["null", {"type": "long", "connect.name": "io.debezium.time.MicroTimestamp"}],
            "default": None,
        },
    ],
}
SOURCE: Final[dict[str, Any]] = {
    "type": "record",
    "name": "Source",
    "namespace": "io.debezium.connector.postgresql",
    "fields": [
        {"name": "connector", "type": "string"},
        {"name": "table", "type": "string"},
        {"name": "sequence", "type": ["null", "string"], "default": None},
        {"name": "lsn", "type": ["null", "long"], "default": None},
    ],
}
ENVELOPE: Final[dict[str, Any]] = {
    "type": "record",
    "name": "Envelope",
    "namespace": "shop.public.orders",
    "fields": [
        {"name": "before", "type": ["null", ROW], "default": None},
        {"name": "after", "type": ["null", "Value"], "default": None},
        {"name": "source", "type": SOURCE},
        {"name": "op", "type": "string"},
        {"name": "ts_ms", "type": ["null", "long"], "default": None},
    ],
}
KEY: Final[dict[str, Any]] = {
    "type": "record",
    "name": "Key",
    "namespace": "shop.public.orders",
    "fields": [{"name": "id", "type": "long"}],
}


@dataclass(frozen=True, slots=True)
class Workload:
    """`changes` over `keys` keys: 90 % updates (the first change of a key is a create), 5 % deletes; 4 partitions."""

    topic: str
    changes: int
    keys: int
    partitions: int = 4
    seed: int = 7


def write_schemas(folder: Path) -> None:
    """The two schemas as files that give their ids."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"orders-key.{TOPIC_KEY_ID}.avsc").write_text(json.dumps(KEY))
    (folder / f"orders-value.{TOPIC_VALUE_ID}.avsc").write_text(json.dumps(ENVELOPE))


def produce(bootstrap_servers: str, workload: Workload) -> float:
    """Fill the topic, which must exist; gives the mean size of a value in bytes."""
    producer = confluent_kafka.Producer(
        {
            "bootstrap.servers": bootstrap_servers,
            "linger.ms": 50,
            "batch.size": 1_000_000,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    total = 0
    for keys, values, partitions in chunks(workload):
        for key, value, partition in zip(keys, values, partitions, strict=True):
            producer.produce(workload.topic, value=value, key=key, partition=partition)
        total += sum(map(len, values))
        while len(producer) > 300_000:
            producer.poll(0.05)
    producer.flush()
    return total / workload.changes


def chunks(workload: Workload) -> Iterator[tuple[list[bytes], list[bytes], list[int]]]:
    dice = np.random.default_rng(workload.seed)
    for first in range(0, workload.changes, CHUNK):
        count = min(CHUNK, workload.changes - first)
        ids = dice.integers(0, workload.keys, count)
        deletes = dice.random(count) < 0.05
        lsn = np.arange(first, first + count) * 48 + 23_000_000
        numbers = np.stack([ids, dice.integers(1, 90, count), dice.integers(100, 2_000_000, count), lsn], axis=1)
        data, ends = _envelopes(numbers, deletes)
        raw, borders = data.tobytes(), [0, *ends.tolist()]
        keys, key_ends = _keys(ids)
        raw_keys, key_borders = keys.tobytes(), [0, *key_ends.tolist()]
        yield (
            [raw_keys[a:b] for a, b in itertools.pairwise(key_borders)],
            [raw[a:b] for a, b in itertools.pairwise(borders)],
            (ids % workload.partitions).tolist(),
        )


def sample(workload: Workload, count: int) -> list[tuple[bytes, bytes]]:
    """Some (key, value) pairs, for the test that fastavro reads them."""
    keys, values, _ = next(chunks(workload))
    return random.Random(1).sample(list(zip(keys, values, strict=True)), count)


def _keys(ids: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    return _encode_keys(ids)


@numba.njit(cache=True)
def _encode_keys(ids):  # type: ignore[no-untyped-def]
    out, ends, at = np.zeros(len(ids) * 15, np.uint8), np.zeros(len(ids), np.int64), 0
    for i in range(len(ids)):
        out[at + 4] = TOPIC_KEY_ID
        at = _long(out, at + 5, ids[i])
        ends[i] = at
    return out[:at], ends


@numba.njit(cache=True)
def _envelopes(numbers, deletes):  # type: ignore[no-untyped-def]
    out, ends, at = np.zeros(len(numbers) * 220, np.uint8), np.zeros(len(numbers), np.int64), 0
    for i in range(len(numbers)):
        out[at + 4] = TOPIC_VALUE_ID
        lsn = numbers[i, 3]
        at = _row(out, at + 5, numbers[i, 0], numbers[i, 1] - 1, numbers[i, 2] - 1, lsn - 480_000)
        if deletes[i]:
            out[at] = 0
            at += 1
        else:
            at = _row(out, at, numbers[i, 0], numbers[i, 1], numbers[i, 2], lsn)
        at = _text(out, at, b"postgresql")
        at = _text(out, at, b"orders")
        at = _sequence(out, at, lsn - 8, lsn)
        out[at] = 2
        at = _long(out, at + 1, lsn)
        at = _text(out, at, b"d" if deletes[i] else b"u")
        out[at] = 2
        at = _long(out, at + 1, 1_760_000_000_100 + lsn // 48)
        ends[i] = at
    return out[:at], ends


@numba.njit(cache=True)
def _row(out, at, key, quantity, cents, lsn):  # type: ignore[no-untyped-def]
    at = _long(out, at + _some(out, at), key)
    at = _customer(out, at + _some(out, at), key)
    at = _long(out, at + _some(out, at), quantity)
    at += _some(out, at)
    out[at] = 8
    for shift in range(4):
        out[at + 1 + shift] = (cents >> (24 - 8 * shift)) & 255
    at += 5
    return _long(out, at + _some(out, at), 1_760_000_000_000_000 + lsn * 20)


@numba.njit(cache=True)
def _some(out, at):  # type: ignore[no-untyped-def]
    out[at] = 2
    return 1


@numba.njit(cache=True)
def _customer(out, at, key):  # type: ignore[no-untyped-def]
    out[at] = 16
    for i in range(8):
        out[at + 1 + i] = 97 + (key * 7 + i * i) % 26
    return at + 9


@numba.njit(cache=True)
def _sequence(out, at, commit, lsn):  # type: ignore[no-untyped-def]
    out[at] = 2
    start = at + 2
    end = _digits(out, start + 2, commit)
    out[start], out[start + 1], out[end], out[end + 1], out[end + 2] = 91, 34, 34, 44, 34
    end = _digits(out, end + 3, lsn)
    out[end], out[end + 1] = 34, 93
    out[at + 1] = (end + 2 - start) * 2
    return end + 2


@numba.njit(cache=True)
def _digits(out, at, number):  # type: ignore[no-untyped-def]
    scale = 1
    while number // scale >= 10:
        scale *= 10
    while scale > 0:
        out[at] = 48 + (number // scale) % 10
        scale //= 10
        at += 1
    return at


@numba.njit(cache=True)
def _text(out, at, text):  # type: ignore[no-untyped-def]
    out[at] = len(text) * 2
    for i in range(len(text)):
        out[at + 1 + i] = text[i]
    return at + 1 + len(text)


@numba.njit(cache=True)
def _long(out, at, number):  # type: ignore[no-untyped-def]
    zigzag = np.uint64((number << 1) ^ (number >> 63))
    while zigzag > 127:
        out[at] = (zigzag & np.uint64(127)) | np.uint64(128)
        zigzag >>= np.uint64(7)
        at += 1
    out[at] = zigzag
    return at + 1
