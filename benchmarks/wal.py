"""`wal_to_arrow` and `postgres_source_to_duckdb`: the log of a real Postgres, read and decoded, and into a table."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from millrace.pipelines.cli.slot import slot
from millrace.pipelines.execution.job_parts import source_of
from millrace.pipelines.execution.progress import Progress
from millrace.pipelines.execution.run_passes import run
from millrace.pipelines.job.load import load_job
from millrace.pipelines.job.model import Job
from millrace.schemas.model.ledger import TopicPartition
from millrace.schemas.model.route import Route
from millrace.transforms.sources.postgres.client import STREAM

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from support.postgres_server import PASSWORD, USER, PostgresServer, missing

ORDERS = TopicPartition("public.orders", 0)
COLUMNS = "id, quantity, customer, amount, day, updated_at, gift, score"
TABLE = (
    "CREATE TABLE orders (id bigint PRIMARY KEY, quantity int, customer text, amount numeric(10,2), day date, "
    "updated_at timestamp, gift bool, score float8)"
)
INSERT = (
    "INSERT INTO orders SELECT i, i %% 1000, 'customer ' || md5(i::text), i / 7.0, '2024-01-01'::date + i %% 1000, "
    "'2024-01-01'::timestamp + i * interval '1 second', i %% 2 = 0, i / 3.0 FROM generate_series(%s::int, %s::int) i"
)
PER_TRANSACTION = 1_000
JOB = """job: {name}
source: {{type: postgres, host: 127.0.0.1, port: {port}, database: postgres, username: {user},
  password: '${{env:MILLRACE_BENCH_PASSWORD}}', sslmode: disable, slot: {name}, publication: {name},
  tables: [public.orders], sync: incremental}}
target: {{type: duckdb, path: {name}.duckdb}}
"""


@dataclass(frozen=True, slots=True)
class Taken:
    """What one way took: seconds, seconds of our own CPU, and how many changes."""

    changes: int
    seconds: float
    cpu_seconds: float

    def shown(self) -> dict[str, int]:
        return {
            "changes_per_second": round(self.changes / self.seconds),
            "changes_per_cpu_second": round(self.changes / self.cpu_seconds),
        }


def measured(work: Callable[[], int]) -> Taken:
    """Run it; it says how many changes it saw."""
    started, cpu = time.perf_counter(), time.process_time()
    changes = work()
    return Taken(changes, time.perf_counter() - started, time.process_time() - cpu)


@contextmanager
def filled(folder: Path, changes: int) -> Iterator[tuple[PostgresServer, list[Job]] | None]:
    """A server with this many inserts in the log of two slots, and a job for each; None where none is had."""
    if missing():
        print(f"no figures of a Postgres source: {missing()}", file=sys.stderr)
        yield None
        return
    os.environ["MILLRACE_BENCH_PASSWORD"] = PASSWORD
    server = PostgresServer(shared_buffers="256MB", max_wal_size="4GB")
    try:
        server.sql(TABLE)
        jobs = []
        for name in ("arrow", "whole"):
            file = folder / f"{name}.yaml"
            file.write_text(JOB.format(name=name, port=server.port, user=USER))
            jobs.append(load_job(file))
            slot(jobs[-1], "create")
        for first in range(0, changes, PER_TRANSACTION):
            server.sql(INSERT, (first, first + PER_TRANSACTION - 1))
        yield server, jobs
    finally:
        server.close()


def to_arrow(job: Job) -> int:
    """Read the log to its end and decode it; keeps nothing."""
    source, changes, route = source_of(job), 0, Route(table="orders", sources=(ORDERS,))
    with closing(source), closing(source.connect()) as connection:
        reader = source.reader(ORDERS, STREAM, connection.offsets([ORDERS])[ORDERS][1])
        with closing(reader):
            while not reader.done:
                block = reader.read(1.0)
                if block is not None:
                    changes += sum(batch.num_rows for batch in source.changes(block, route).changes)
    return changes


def into_duckdb(job: Job) -> int:
    with Progress() as progress:
        return int(run(job, once=True, progress=progress).total("read"))


def figures(tell: Callable[..., None], folder: Path, changes: int) -> None:
    """One line a way. The server's own CPU is not ours; a first run of a few changes has loaded the loops."""
    folder.mkdir(parents=True, exist_ok=True)
    for count in (PER_TRANSACTION, changes):
        place = folder / str(count)
        place.mkdir()
        with filled(place, count) as found:
            if found is None:
                return
            server, (arrow, whole) = found
            ours, table = measured(lambda job=arrow: to_arrow(job)), measured(lambda job=whole: into_duckdb(job))
            if count != changes:
                continue
            tell("wal_to_arrow", changes=changes, **ours.shown())
            same = _rows(place / "whole.duckdb") == server.sql(f"SELECT {COLUMNS} FROM orders ORDER BY id")
            tell("postgres_source_to_duckdb", changes=changes, **table.shown(), same_table=same)


def _rows(path: Path) -> list[Any]:
    with duckdb.connect(str(path), read_only=True) as con:
        return con.execute(f"SELECT {COLUMNS} FROM orders ORDER BY id").fetchall()
