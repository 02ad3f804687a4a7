"""The peer: the same job as a good engineer writes it in Beam today, one element a record.

kafka-python `poll`, fastavro with a parsed schema, key and value, windows, latest position per key, batched MERGE.
"""

import io
import json
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import duckdb
import fastavro
import pyarrow as pa
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.window import FixedWindows, TimestampedValue
from kafka import KafkaConsumer, TopicPartition

COLUMNS = ("id", "customer", "quantity", "amount", "updated_at")
Change = tuple[tuple[int, int, int], str, dict[str, Any] | None]


class Poll(beam.DoFn):  # type: ignore[misc]
    """One partition from its beginning to the end given."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._servers = bootstrap_servers

    def process(self, part: tuple[str, int, int]) -> Iterator[Any]:
        place, end = TopicPartition(*part[:2]), part[2]
        consumer = KafkaConsumer(bootstrap_servers=self._servers, enable_auto_commit=False, max_poll_records=5000)
        consumer.assign([place])
        consumer.seek_to_beginning(place)
        while consumer.position(place) < end:
            for record in consumer.poll(timeout_ms=1000).get(place, ()):
                yield TimestampedValue((record.key, record.value, record.offset), 0)
        consumer.close()


class Decode(beam.DoFn):  # type: ignore[misc]
    """Confluent wire format by fastavro, position from the source block."""

    def __init__(self, contracts: str) -> None:
        self.folder = contracts

    def setup(self) -> None:
        files = {int(path.suffixes[-2][1:]): path for path in Path(self.folder).glob("*.avsc")}
        self._schemas = {number: fastavro.parse_schema(json.loads(path.read_text())) for number, path in files.items()}

    def process(self, message: tuple[bytes, bytes, int]) -> Iterator[tuple[int, Change]]:
        key, value, offset = message
        row_key = self._read(key)["id"]
        event = self._read(value)
        commit, lsn = json.loads(event["source"]["sequence"])
        yield row_key, ((int(commit), int(lsn), offset), event["op"], event["after"])

    def _read(self, payload: bytes) -> Any:
        return fastavro.schemaless_reader(io.BytesIO(payload[5:]), self._schemas[struct.unpack(">I", payload[1:5])[0]])


class Latest(beam.CombineFn):  # type: ignore[misc]
    """The change with the largest position."""

    def create_accumulator(self) -> Change | None:
        return None

    def add_input(self, held: Change | None, change: Change) -> Change:
        return change if held is None or change[0] > held[0] else held

    def merge_accumulators(self, held: Iterable[Change | None]) -> Change | None:
        return max((change for change in held if change is not None), key=lambda change: change[0], default=None)

    def extract_output(self, held: Change | None) -> Change | None:
        return held


class Merge(beam.DoFn):  # type: ignore[misc]
    """A batch of newest changes to one MERGE."""

    def __init__(self, path: str) -> None:
        self._path = path

    def setup(self) -> None:
        self._db = duckdb.connect(self._path)
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS orders (id BIGINT, customer VARCHAR, quantity INTEGER, "
            "amount DECIMAL(12,2), updated_at TIMESTAMP)"
        )

    def process(self, changes: list[tuple[int, Change]]) -> Iterator[None]:
        rows = [{**(row or {}), "id": key, "deleted": op == "d"} for key, (_, op, row) in changes]
        schema = pa.schema(
            [
                ("id", pa.int64()),
                ("customer", pa.string()),
                ("quantity", pa.int32()),
                ("amount", pa.decimal128(12, 2)),
                ("updated_at", pa.int64()),
                ("deleted", pa.bool_()),
            ]
        )
        self._db.register("batch", pa.Table.from_pylist(rows, schema))
        self._db.execute(
            "MERGE INTO orders t USING (SELECT * REPLACE (make_timestamp(updated_at) AS updated_at) FROM batch) s "
            "ON t.id = s.id WHEN MATCHED AND s.deleted THEN DELETE "
            "WHEN MATCHED THEN UPDATE SET customer = s.customer, quantity = s.quantity, amount = s.amount, "
            "updated_at = s.updated_at "
            "WHEN NOT MATCHED AND NOT s.deleted THEN INSERT VALUES "
            "(s.id, s.customer, s.quantity, s.amount, s.updated_at)"
        )
        self._db.unregister("batch")
        yield from ()

    def teardown(self) -> None:
        self._db.close()


def run(bootstrap_servers: str, topic: str, ends: list[int], contracts: str, path: str) -> None:
    """Sync the topic, up to the end offset of each partition, into the DuckDB table `orders` at `path`."""
    with beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([])) as pipeline:
        _ = (
            pipeline
            | "Partitions" >> beam.Create([(topic, number, end) for number, end in enumerate(ends)])
            | "Poll" >> beam.ParDo(Poll(bootstrap_servers))
            | "Decode" >> beam.ParDo(Decode(contracts))
            | "Window" >> beam.WindowInto(FixedWindows(10))
            | "Latest" >> beam.CombinePerKey(Latest())
            | "Batch" >> beam.BatchElements(min_batch_size=1000, max_batch_size=50_000)
            | "Merge" >> beam.ParDo(Merge(path))
        )
