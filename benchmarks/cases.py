"""One measurement a process: `python -m benchmarks.cases NAME ARGUMENTS` runs it and prints what it took as JSON.

Times exclude imports and compiled kernels being loaded (a small run comes first), and include opening, closing and
the last commit.
"""

import itertools
import json
import resource
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from millrace.pipelines.execution.progress import Progress
from millrace.pipelines.execution.run_passes import run
from millrace.pipelines.job.load import load_job
from millrace.schemas.encodings.avro.encoding import AvroEncoding
from millrace.schemas.encodings.avro.options import AvroOptions
from millrace.schemas.encodings.avro.schema_text import AVRO
from millrace.schemas.encodings.message_reader import Failures, MessageReader
from millrace.schemas.encodings.schema_store import FolderSchemaStore
from millrace.schemas.envelopes import ENVELOPES
from millrace.schemas.merging.newest_by_key import newest_changes
from millrace.schemas.model.block import Block
from millrace.schemas.model.change import row_schema
from millrace.schemas.model.ledger import Account, Commit, TopicPartition
from millrace.schemas.model.route import Route
from millrace.transforms.sinks import open_sink
from millrace.transforms.sources.kafka.partition_reader import PartitionReader
from millrace.transforms.sources.kafka.record_batches import split
from millrace.transforms.sources.kafka.settings import KafkaSettings
from millrace.transforms.sources.kafka.source import KafkaSource
from millrace.transforms.steps.block_decoders import BlockDecoder, BlockDecoders

from . import binlog, iceberg, mysql, per_record, postgres, rabbitmq

JOB = """job: bench
source: {{type: kafka, bootstrap_servers: '{servers}', topics: [{topic}]}}
format: {{type: debezium, schemas: {contracts}}}
tables: [{{from: {topic}, to: orders}}]
target: {place}
"""


def job_file(folder: Path, target: str, arguments: dict[str, Any], topic: str) -> Path:
    path = folder / {"delta": "lake", "files": "log"}.get(target, "out.duckdb")
    place = arguments["places"][topic] if target in ("mysql", "postgres") else f"{{type: {target}, path: {path}}}"
    place = iceberg.place(folder / "lake") if target == "iceberg" else place
    file = folder / f"{topic}.yaml"
    file.write_text(
        JOB.format(servers=arguments["servers"], topic=topic, contracts=arguments["contracts"], place=place)
    )
    return file


def sync(target: str, arguments: dict[str, Any]) -> Callable[[], int]:
    """`millrace run --once` into a fresh target."""
    folder = Path(arguments["folder"])
    warm = folder / "warm"
    warm.mkdir(parents=True)
    run(load_job(job_file(warm, target, arguments, arguments["warm"])), once=True, progress=Progress(quiet=True))
    file = job_file(folder, target, arguments, arguments["topic"])

    def measured() -> int:
        summary = run(load_job(file), once=True, progress=Progress(quiet=True))
        if summary.failed:
            raise RuntimeError(str(summary))
        return summary.total("read")

    return measured


def into_iceberg(arguments: dict[str, Any]) -> Callable[[], int]:
    """`millrace run --once` into a table of `keys` rows, in commits of 200,000 changes."""
    iceberg.commits_of(iceberg.COMMIT)
    columns = row_schema(next(part for part in changes(arguments, 1)).schema)
    measured = sync("iceberg", arguments)
    iceberg.fill(Path(arguments["folder"]) / "lake", columns, arguments["keys"])
    return measured


def peer(arguments: dict[str, Any]) -> Callable[[], int]:
    """The per-record Beam pipeline into a fresh DuckDB file."""
    folder = Path(arguments["folder"])

    def sync_to(topic: str, file: str) -> None:
        ends = arguments["ends"][topic]
        per_record.run(arguments["servers"], topic, ends, arguments["contracts"], str(folder / file))

    sync_to(arguments["warm"], "warm.duckdb")

    def measured() -> int:
        sync_to(arguments["topic"], "out.duckdb")
        return int(arguments["changes"])

    return measured


def blocks(arguments: dict[str, Any], topic: str) -> Iterator[Block]:
    """All blocks of the topic, partition after partition."""
    for number, stop in enumerate(arguments["ends"][topic]):
        reader = PartitionReader(KafkaSettings(arguments["servers"]), TopicPartition(topic, number), 0, stop)
        while not reader.done:
            block = reader.read(1.0)
            if block is not None:
                yield block
        reader.close()


def orders_format(arguments: dict[str, Any]) -> BlockDecoders:
    source = KafkaSource(KafkaSettings(arguments["servers"]))
    encoding = AvroEncoding(AvroOptions(), FolderSchemaStore(arguments["contracts"], AVRO))
    return BlockDecoders(source=source, encoding=encoding, envelope=ENVELOPES["debezium"].open())


def orders_route(topic: str) -> Route:
    return Route(table="orders", sources=tuple(TopicPartition(topic, number) for number in range(4)))


def decoder(arguments: dict[str, Any], topic: str) -> BlockDecoder:
    return orders_format(arguments).decoder(topic, orders_route(topic))


def to_arrow(arguments: dict[str, Any]) -> Callable[[], int]:
    """Kafka to Arrow changes, without a runner: the rate that a bare loop reaches."""
    for block in blocks(arguments, arguments["warm"]):
        decoder(arguments, arguments["warm"])(block)

    def measured() -> int:
        reader = decoder(arguments, arguments["topic"])
        return sum(part.num_rows for block in blocks(arguments, arguments["topic"]) for part in reader(block).changes)

    return measured


def fetch(arguments: dict[str, Any]) -> Callable[[], int]:
    list(blocks(arguments, arguments["warm"]))
    return lambda: sum(block.stop - block.first for block in blocks(arguments, arguments["topic"]))


def split_only(arguments: dict[str, Any]) -> Callable[[], int]:
    held = list(blocks(arguments, arguments["topic"]))
    split(held[0])
    return lambda: sum(len(split(block)[0]) for block in held)


def decode_only(arguments: dict[str, Any]) -> Callable[[], int]:
    """Framing and Avro of keys and values, all columns of `after` and what positions need."""
    topic = arguments["topic"]
    held = [split(block)[0] for block in blocks(arguments, topic)]
    format, route = orders_format(arguments), orders_route(topic)
    reader = MessageReader(format.encoding, topic, lambda path: format.envelope.keep(path, route))

    def measured() -> int:
        return sum(
            len(group.rows)
            for records in held
            for group in reader.read(records, Failures(records), keys_of_values=True)
        )

    measured()
    return measured


def envelope_only(arguments: dict[str, Any]) -> Callable[[], int]:
    """Block to changes: split, decode and envelope together; take the two above from it."""
    held = list(blocks(arguments, arguments["topic"]))
    reader = decoder(arguments, arguments["topic"])
    reader(held[0])
    return lambda: sum(part.num_rows for block in held for part in reader(block).changes)


def changes(arguments: dict[str, Any], most: int | None = None) -> list[pa.RecordBatch]:
    """The changes of all blocks, or of the first ones."""
    reader = decoder(arguments, arguments["topic"])
    held = itertools.islice(blocks(arguments, arguments["topic"]), most)
    return [part for block in held for part in reader(block).changes]


def compact_only(arguments: dict[str, Any]) -> Callable[[], int]:
    held = changes(arguments)
    newest_changes("orders", ("id",), held[:1])

    def measured() -> int:
        for first in range(0, len(held), 32):
            newest_changes("orders", ("id",), held[first : first + 32])
        return sum(part.num_rows for part in held)

    return measured


def merge_only(arguments: dict[str, Any]) -> Callable[[], int]:
    """Deltas of a pass each into DuckDB: staged, merged, committed. Counts the rows of the deltas."""
    held = changes(arguments)
    deltas = [newest_changes("orders", ("id",), held[first : first + 64]) for first in range(0, len(held), 64)]
    sink = open_sink("duckdb", {"path": str(Path(arguments["folder"]) / "merge.duckdb")})

    def measured() -> int:
        for done in deltas:
            rows: dict[int, int] = {}
            for number in done.delta.column("_millrace_source").to_pylist():
                rows[number] = rows.get(number, 0) + 1
            accounts = tuple(
                Account(arguments["topic"], number, -1, -1, read=rows.get(number, 0)) for number in range(4)
            )
            sink.commit(done.table, [sink.stage(done.table, done.delta)], Commit("bench", accounts))
        sink.close()
        return sum(done.delta.num_rows for done in deltas)

    return measured


CASES: dict[str, Callable[[dict[str, Any]], Callable[[], int]]] = {
    "kafka_to_duckdb": lambda arguments: sync("duckdb", arguments),
    "kafka_to_delta": lambda arguments: sync("delta", arguments),
    "kafka_to_postgres": lambda arguments: sync("postgres", arguments),
    "executemany": lambda arguments: postgres.executemany(arguments, lambda: changes(arguments)),
    "kafka_to_mysql": lambda arguments: sync("mysql", arguments),
    "executemany_mysql": lambda arguments: mysql.executemany(arguments, lambda: changes(arguments)),
    "kafka_to_iceberg": into_iceberg,
    "pyiceberg_upsert": lambda arguments: iceberg.pyiceberg_upsert(
        Path(arguments["folder"]) / "lake", changes(arguments), arguments["keys"]
    ),
    "kafka_to_parquet": lambda arguments: sync("files", arguments),
    "per_record_beam": peer,
    "kafka_to_arrow": to_arrow,
    "binlog_to_arrow": binlog.ours,
    "mysql_replication": binlog.theirs,
    "rabbitmq_stream_to_arrow": rabbitmq.ours,
    "rstream": rabbitmq.theirs,
    "fetch": fetch,
    "split": split_only,
    "decode": decode_only,
    "block_to_changes": envelope_only,
    "compact": compact_only,
    "merge": merge_only,
}


def main() -> None:
    name, arguments = sys.argv[1], json.loads(sys.argv[2])
    folder = Path(arguments["folder"])
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    measured = CASES[name](arguments)
    clock, cpu = time.perf_counter(), time.process_time()
    count = measured()
    seconds, cpu_seconds = time.perf_counter() - clock, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"changes": count, "seconds": seconds, "cpu_seconds": cpu_seconds, "peak_rss_mb": round(peak)}))


if __name__ == "__main__":
    main()
