"""Latency of a job that streams: from a change's own time in Kafka to the commit that made it visible in the target.

The target is a Delta table, whose log holds the time and the offsets of every commit; the topic holds the time of
every message. So each message's latency is known, and nothing has to ask the table while it is written.
"""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import confluent_kafka
import numpy as np
from numpy.typing import NDArray

from millrace.schemas.model.block import Block
from millrace.schemas.model.ledger import TopicPartition
from millrace.transforms.sources.kafka.cluster import open_broker
from millrace.transforms.sources.kafka.consumer_pool import POOL
from millrace.transforms.sources.kafka.partition_reader import PartitionReader
from millrace.transforms.sources.kafka.record_batches import split
from millrace.transforms.sources.kafka.settings import KafkaSettings

from .workload import Workload, chunks

WARM_SECONDS: Final = 5
FIRST: Final = 100
START_SECONDS: Final = 240.0
TICK_SECONDS: Final = 0.02
JOB: Final = """job: stream
source: {{type: kafka, bootstrap_servers: '{servers}', topics: [{topic}]}}
format: {{type: debezium, schemas: {contracts}}}
tables: [{{from: {topic}, to: orders}}]
window: {{every: 1s}}
target: {{type: delta, path: {path}}}
"""


def send_steadily(servers: str, workload: Workload, rate: int, table: Path) -> None:
    """Produce the workload's changes at `rate` a second, once the first few are committed to the Delta table."""
    producer = confluent_kafka.Producer({"bootstrap.servers": servers, "linger.ms": 5, "compression.type": "lz4"})
    started, sent = time.monotonic(), 0
    for keys, values, partitions in chunks(workload):
        for key, value, partition in zip(keys, values, partitions, strict=True):
            if sent == FIRST:
                producer.flush()
                _wait_for_commit(table)
                started = time.monotonic()
            if sent > FIRST and sent - FIRST >= rate * (time.monotonic() - started):
                producer.poll(0)
                time.sleep(TICK_SECONDS)
            _produce(producer, workload.topic, (key, value, partition))
            sent += 1
    producer.flush()


def _produce(producer: confluent_kafka.Producer, topic: str, message: tuple[bytes, bytes | None, int]) -> None:
    key, value, partition = message
    while True:
        try:
            return producer.produce(topic, value=value, key=key, partition=partition)
        except BufferError:
            producer.poll(TICK_SECONDS)


def _wait_for_commit(table: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not (table.exists() and commits(table)):
        if time.monotonic() > deadline:
            raise RuntimeError("the job has not committed anything")
        time.sleep(0.1)


def run_beside(servers: str, folder: Path, workload: Workload, rate: int, options: Sequence[str]) -> dict[str, Any]:
    """`millrace run` beside a steady producer; the latencies, and what the runner's processes took."""
    folder.mkdir(parents=True)
    file = folder / "job.yaml"
    contracts = folder.parent / "contracts"
    file.write_text(JOB.format(servers=servers, topic=workload.topic, contracts=contracts, path=folder / "lake"))
    command = [sys.executable, "-m", "millrace.pipelines", "run", str(file), "--json", *options]
    with (folder / "err").open("w") as err:
        job = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=err, text=True)
        try:
            send_steadily(servers, workload, rate, folder / "lake" / "orders")
            time.sleep(3)
            job.send_signal(signal.SIGTERM)
            out, _ = job.communicate(timeout=180)
        finally:
            job.kill()
    if job.returncode:
        raise RuntimeError((folder / "err").read_text())
    if json.loads(out)["lag"]:
        raise RuntimeError(f"not everything was committed: {out}")
    return latencies(servers, folder / "lake" / "orders", workload)


def commits(table: Path) -> list[tuple[int, int, int, int]]:
    """(partition, first, stop, time in milliseconds) of all that the commits of a Delta table covered."""
    spans = []
    for file in sorted((table / "_delta_log").glob("*.json")):
        for line in file.read_text().splitlines():
            info = json.loads(line).get("commitInfo", {})
            for account in json.loads(info.get("millrace", "{}")).get("accounts", ()):
                if account["stop"] > account["first"] >= 0:
                    spans.append((account["partition"], account["first"], account["stop"], info["timestamp"]))
    return spans


def latencies(servers: str, table: Path, workload: Workload) -> dict[str, Any]:
    """p50 and p99 in seconds over all messages behind the first `FIRST`, and `WARM_SECONDS` more."""
    spans = commits(table)
    late = []
    for number in range(workload.partitions):
        stamps = timestamps(servers, TopicPartition(workload.topic, number))
        for partition, first, stop, at in spans:
            if partition == number:
                late.append(np.stack([stamps[first:stop], at - stamps[first:stop]]))
    all_late = np.concatenate(late, axis=1)
    if all_late.shape[1] != workload.changes:
        raise RuntimeError(f"{all_late.shape[1]} changes are in commits, {workload.changes} were sent")
    begun = np.sort(all_late[0])[FIRST]
    steady = all_late[1][all_late[0] > begun + WARM_SECONDS * 1000]
    return {
        "p50_seconds": round(float(np.percentile(steady, 50)) / 1000, 2),
        "p99_seconds": round(float(np.percentile(steady, 99)) / 1000, 2),
        "commits": len({at for *_, at in spans}),
    }


def timestamps(servers: str, source: TopicPartition) -> NDArray[np.int64]:
    """The time of each message of a partition, in milliseconds."""
    with open_broker(KafkaSettings(servers)) as broker:
        _, end = broker.offsets([source])[source]
    reader = PartitionReader(KafkaSettings(servers), source, 0, end)
    found = []
    while not reader.done:
        block: Block | None = reader.read(1.0)
        if block is not None:
            found.append(split(block)[0].timestamp)
    reader.close()
    POOL.close()
    return np.concatenate(found)
