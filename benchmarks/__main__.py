"""`make bench`: every figure in one run, one JSON line each; `--quick` takes a tenth of the changes."""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from millrace.schemas.model.ledger import TopicPartition
from millrace.transforms.sources.kafka.cluster import open_broker
from millrace.transforms.sources.kafka.embedded_broker import EmbeddedBroker
from millrace.transforms.sources.kafka.settings import KafkaSettings

from . import binlog, envelopes, iceberg, json_messages, mysql, postgres, rabbitmq, wal
from .flink import PRISM, FlinkCluster, built, options, soak, throughput
from .lakes import lake_growth, lake_history, same_as_log
from .streaming import run_beside
from .workload import Workload, produce, write_schemas

STEPS = ("fetch", "split", "decode", "block_to_changes", "compact", "merge")
COLUMNS = "id, customer, quantity, amount, updated_at"


class Bench:
    """The broker, its topics, and measurements in processes of their own."""

    def __init__(self, servers: str, folder: Path) -> None:
        self.servers, self.folder = servers, folder
        self._ends: dict[str, list[int]] = {}
        write_schemas(folder / "contracts")

    def fill(self, broker: EmbeddedBroker, workload: Workload) -> None:
        broker.create_topic(workload.topic, workload.partitions)
        size = produce(self.servers, workload)
        self._ends[workload.topic] = ends(self.servers, workload.topic, workload.partitions)
        tell("workload", topic=workload.topic, changes=workload.changes, keys=workload.keys, value_bytes=round(size, 1))

    def measure(self, case: str, workload: Workload, more: dict[str, Any] | None = None) -> dict[str, Any]:
        """Changes a second and a CPU-second, and the peak memory, of one case in its own process."""
        arguments = {
            "servers": self.servers,
            "topic": workload.topic,
            "warm": "warm",
            "changes": workload.changes,
            "ends": self._ends,
            "contracts": str(self.folder / "contracts"),
            "folder": str(self.folder / f"{case}-{workload.topic}"),
            **(more or {}),
        }
        command = [sys.executable, "-m", "benchmarks.cases", case, json.dumps(arguments)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        return {
            "changes_per_second": round(found["changes"] / found["seconds"]),
            "changes_per_cpu_second": round(found["changes"] / found["cpu_seconds"]),
            "peak_rss_mb": found["peak_rss_mb"],
        }

    def table(self, case: str, workload: Workload) -> str:
        """The case's table as something that DuckDB can select from."""
        folder = self.folder / f"{case}-{workload.topic}"
        return str(folder / "lake" / "orders") if case == "kafka_to_delta" else str(folder / "out.duckdb")

    def lake(self, case: str, workload: Workload) -> Path:
        """The folder of the case's Iceberg warehouse."""
        return self.folder / f"{case}-{workload.topic}" / "lake"

    def log(self, workload: Workload) -> Path:
        """The folder of the case's change log."""
        return self.folder / f"kafka_to_parquet-{workload.topic}" / "log" / "orders"


def ends(servers: str, topic: str, partitions: int) -> list[int]:
    with open_broker(KafkaSettings(servers)) as broker:
        parts = [TopicPartition(topic, number) for number in range(partitions)]
        found = broker.offsets(parts)
    return [found[part][1] for part in parts]


def same_rows(left: str | pa.Table, right: str) -> bool:
    """Whether two tables hold the same rows; a folder is a Delta table."""
    with duckdb.connect() as db:
        for name, path in (("a", left), ("b", right)):
            if isinstance(path, pa.Table):
                db.register(name, path)
            elif Path(path).is_dir():
                from deltalake import DeltaTable

                db.register(name, DeltaTable(path).to_pyarrow_table())
            else:
                db.execute(f"ATTACH '{path}' AS {name}_file (READ_ONLY)")
                db.execute(f"CREATE TEMP VIEW {name} AS SELECT * FROM {name}_file.orders")
        pairs = (("a", "b"), ("b", "a"))
        queries = (
            f"SELECT count(*) FROM (SELECT {COLUMNS} FROM {x} EXCEPT ALL SELECT {COLUMNS} FROM {y})" for x, y in pairs
        )
        return all(db.execute(query).fetchall() == [(0,)] for query in queries)


def tell(figure: str, **values: Any) -> None:
    print(json.dumps({"figure": figure, **values}), flush=True)


def against_per_record(bench: Bench, workload: Workload) -> None:
    ours, theirs = bench.measure("kafka_to_duckdb", workload), bench.measure("per_record_beam", workload)
    same = same_rows(bench.table("kafka_to_duckdb", workload), bench.table("per_record_beam", workload))
    tell("per_record_beam", keys=workload.keys, **theirs)
    tell(
        "kafka_to_duckdb",
        keys=workload.keys,
        **ours,
        ratio_to_per_record_beam=round(ours["changes_per_second"] / theirs["changes_per_second"], 1),
        cpu_ratio_to_per_record_beam=round(ours["changes_per_cpu_second"] / theirs["changes_per_cpu_second"], 1),
        same_table=same,
    )
    if not same:
        raise SystemExit("the two tables differ: the figures mean nothing")


def into_postgres(bench: Bench, workload: Workload) -> None:
    """Into a server of its own, beside `executemany`; the CPU of the server is not in the figures per CPU-second."""
    with postgres.postgres() as server:
        if server is None:
            return
        places = {topic: postgres.fresh_schema(server, f"ours_{topic}") for topic in ("warm", workload.topic)}
        ours = bench.measure("kafka_to_postgres", workload, {"places": places})
        postgres.fresh_schema(server, "theirs")
        theirs = bench.measure("executemany", workload, {"dsn": server.role_dsn(), "schema": "theirs"})
        same = postgres.same_rows(server, f"ours_{workload.topic}", "theirs")
    tell("executemany_to_postgres", keys=workload.keys, **theirs)
    ratio = round(ours["changes_per_second"] / theirs["changes_per_second"], 1)
    tell("kafka_to_postgres", keys=workload.keys, **ours, ratio_to_executemany=ratio, same_table=same)
    if not same:
        raise SystemExit("the two tables differ: the figures mean nothing")


def into_mysql(bench: Bench, workload: Workload) -> None:
    """Into a MariaDB of its own, beside `executemany`; the CPU of the server is not in the figures per CPU-second."""
    with mysql.mariadb() as server:
        if server is None:
            return
        topics = ("warm", workload.topic)
        places = {topic: mysql.target(mysql.fresh_database(server, f"ours_{topic}")) for topic in topics}
        ours = bench.measure("kafka_to_mysql", workload, {"places": places})
        place = mysql.fresh_database(server, "theirs")
        theirs = bench.measure("executemany_mysql", workload, {"place": place})
        same = mysql.same_rows(server, f"ours_{workload.topic}", "theirs")
    tell("executemany_to_mysql", keys=workload.keys, **theirs)
    ratio = round(ours["changes_per_second"] / theirs["changes_per_second"], 1)
    tell("kafka_to_mysql", keys=workload.keys, **ours, ratio_to_executemany=ratio, same_table=same)
    if not same:
        raise SystemExit("the two tables differ: the figures mean nothing")


def of_binlog(bench: Bench, workload: Workload) -> None:
    """Rows of a binlog to Arrow, beside mysql-replication, which reads a tenth of them."""
    with binlog.written(workload.changes) as place:
        if place is None:
            return
        ours = bench.measure("binlog_to_arrow", workload, place)
        theirs = bench.measure("mysql_replication", workload, place)
        size = Path(place["file"]).stat().st_size / workload.changes
    cases = ("binlog_to_arrow", "mysql_replication")
    same = binlog.same_rows(*(bench.folder / f"{case}-{workload.topic}" for case in cases))
    tell("mysql_replication", **theirs)
    ratio = round(ours["changes_per_cpu_second"] / theirs["changes_per_cpu_second"], 1)
    tell("binlog_to_arrow", bytes_a_row=round(size), **ours, cpu_ratio_to_mysql_replication=ratio, same_rows=same)
    if not same:
        raise SystemExit("the rows differ: the figures mean nothing")


def of_rabbitmq(bench: Bench, workload: Workload) -> None:
    """Messages of a stream to Arrow, beside rstream, which reads a tenth of them."""
    with rabbitmq.written(workload.changes) as place:
        if place is None:
            return
        cases = ("rabbitmq_stream_to_arrow", "rstream")
        ours, theirs = (bench.measure(case, workload, place) for case in cases)
    same = rabbitmq.same_rows(*(bench.folder / f"{case}-{workload.topic}" for case in cases))
    tell("rstream", **theirs)
    ratio = round(ours["changes_per_cpu_second"] / theirs["changes_per_cpu_second"], 1)
    tell("rabbitmq_stream_to_arrow", **ours, cpu_ratio_to_rstream=ratio, same_rows=same)
    if not same:
        raise SystemExit("the messages differ: the figures mean nothing")


def into_iceberg(bench: Bench, workload: Workload, keys: int) -> None:
    """Into a table of `keys` rows, beside pyiceberg's upsert of the first rows of the same deltas into one like it."""
    ours = bench.measure("kafka_to_iceberg", workload, {"keys": keys})
    theirs = bench.measure("pyiceberg_upsert", workload, {"keys": keys})
    rows = iceberg.changed_rows(bench.lake("kafka_to_iceberg", workload), COLUMNS)
    same = same_rows(rows, bench.table("kafka_to_duckdb", workload))
    tell("pyiceberg_upsert", keys=keys, **theirs)
    ratio = round(ours["changes_per_second"] / theirs["changes_per_second"], 1)
    tell("kafka_to_iceberg", keys=keys, **ours, ratio_to_pyiceberg_upsert=ratio, same_table=same)
    if not same:
        raise SystemExit("the two tables differ: the figures mean nothing")


def growth(bench: Bench, broker: EmbeddedBroker, unit: int, keys: int) -> None:
    """The same job over 1, 4 and 16 times the changes: rate and memory must stay."""
    found = []
    for times in (1, 4, 16):
        workload = Workload(f"growth{times}", unit * times, keys)
        bench.fill(broker, workload)
        found.append(bench.measure("kafka_to_duckdb", workload))
        tell("growth", changes=workload.changes, keys=keys, **found[-1])
    rates = [one["changes_per_cpu_second"] for one in found]
    tell(
        "growth_spread",
        percent=round(100 * (max(rates) / min(rates) - 1), 1),
        memory_mb=[f["peak_rss_mb"] for f in found],
    )


def streaming(bench: Bench, broker: EmbeddedBroker, full: Workload, seconds: int) -> None:
    """Latency on each runner at two rates, and how fast Flink drains a topic that is full, beside passes here."""
    with FlinkCluster() as cluster:
        runners = {
            "DirectRunner": [],
            "PrismRunner": ["--runner=PrismRunner", f"--prism_location={built(PRISM)}"],
            "FlinkRunner": options(cluster, 2),
        }
        for rate in (5_000, 20_000):
            for name, words in runners.items():
                workload = Workload(f"{name}-{rate}", rate * seconds, 20_000)
                broker.create_topic(workload.topic, workload.partitions)
                found = run_beside(bench.servers, bench.folder / workload.topic, workload, rate, words)
                tell("stream_latency", runner=name, changes_per_second=rate, **found)
        bench.fill(broker, full)
        direct = bench.measure("kafka_to_delta", full)
        for parallelism in (1, 2):
            folder = bench.folder / f"flink-{parallelism}"
            found = throughput(bench.servers, folder, full, cluster, parallelism)
            same = same_rows(str(folder / "lake" / "orders"), bench.table("kafka_to_delta", full))
            tell("flink_throughput", **found, direct_runner=direct["changes_per_second"], same_table=same)


def soaking(bench: Bench, broker: EmbeddedBroker, seconds: int, rate: int = 10_000) -> None:
    """Half an hour of a steady stream on Flink: memory and handles must stay."""
    workload = Workload("soak", rate * seconds, 20_000)
    broker.create_topic(workload.topic, workload.partitions)
    with FlinkCluster() as cluster:
        for found in soak(bench.servers, bench.folder / "soak", workload, cluster, rate):
            tell("flink_soak", changes_per_second=rate, **found)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--quick", action="store_true", help="a tenth of the changes")
    parts = ("main", "postgres", "mysql", "binlog", "steps", "growth", "delta_growth", "iceberg_growth")
    parts += ("iceberg_history", "streaming", "soak", "wal", "rabbitmq", "json")
    parser.add_argument("--only", choices=parts, help="one part of the figures")
    chosen = parser.parse_args()
    unit = 200_000 if chosen.quick else 2_000_000
    few, many = Workload("few", unit, unit // 100), Workload("many", unit, unit // 2)
    tell(
        "machine",
        cores=os.cpu_count(),
        cpu=platform.processor() or platform.machine(),
        python=platform.python_version(),
    )
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, EmbeddedBroker() as broker:
        bench = Bench(broker.bootstrap_servers, Path(folder))
        bench.fill(broker, Workload("warm", 4_000, 100))
        if chosen.only in (None, "main", "postgres", "steps"):
            bench.fill(broker, few)
        if chosen.only in (None, "main", "postgres", "mysql"):
            bench.fill(broker, many)
        if chosen.only in (None, "main"):
            for workload in (few, many):
                against_per_record(bench, workload)
            delta = bench.measure("kafka_to_delta", few)
            same = same_rows(bench.table("kafka_to_delta", few), bench.table("kafka_to_duckdb", few))
            tell("kafka_to_delta", keys=few.keys, **delta, same_table=same)
            log = bench.measure("kafka_to_parquet", few)
            same = same_as_log(bench.log(few), bench.table("kafka_to_duckdb", few), COLUMNS)
            tell("kafka_to_parquet", keys=few.keys, **log, same_table=same)
            tell("kafka_to_arrow", keys=few.keys, **bench.measure("kafka_to_arrow", few))
        if chosen.only in (None, "json"):
            for found in json_messages.figures(unit // 20):
                tell("json_to_arrow", **found)
            for found in envelopes.figures(unit // 20):
                tell("envelopes_to_changes", **found)
        if chosen.only in (None, "main"):
            into_iceberg(bench, many, unit)
        if chosen.only in (None, "postgres"):
            into_postgres(bench, many)
        if chosen.only in (None, "mysql"):
            into_mysql(bench, many)
        if chosen.only in (None, "binlog"):
            of_binlog(bench, few)
        if chosen.only in (None, "rabbitmq"):
            of_rabbitmq(bench, few)
        if chosen.only in (None, "wal"):
            wal.figures(tell, bench.folder / "wal", unit // 4)
        if chosen.only in (None, "steps"):
            for step in STEPS:
                tell(f"step_{step}", **bench.measure(step, few))
        if chosen.only in (None, "growth"):
            growth(bench, broker, unit, unit // 2)
        for kind in ("delta", "iceberg"):
            if chosen.only in (None, f"{kind}_growth"):
                lake_growth(kind, tell, tuple(unit // 2 * times for times in (1, 4, 16)))
        if chosen.only in (None, "iceberg_history"):
            lake_history(tell, unit // 2_000)
        if chosen.only in (None, "streaming"):
            drained = Workload("drained", unit * 4, unit // 100)
            streaming(bench, broker, drained, seconds=20 if chosen.quick else 120)
        if chosen.only == "soak":
            soaking(bench, broker, seconds=180 if chosen.quick else 1_800)


if __name__ == "__main__":
    main()
