"""A live Debezium: after each thing that happens to it, the table is the source's own rows, and `verify` agrees."""

import random
import time
from contextlib import closing

import psycopg
import pytest
from kafka.admin import NewTopic
from support import postgres_server, recorded_stream
from support.debezium import Connector, Registry
from support.downloads import missing_java
from support.jobs import run_once
from support.stored_rows import stored, unequal

from millrace.pipelines.cli.verify import verify_job
from millrace.pipelines.execution.job_parts import target_of
from millrace.pipelines.job.load import load_job
from millrace.transforms.proof.report import Outcome

pytestmark = pytest.mark.timeout(600)

SCHEMA = """
CREATE TABLE items (
    id bigint PRIMARY KEY, name text, note text, photo bytea, amount numeric(12, 2), price numeric,
    ratio double precision, flag boolean, day date, at timestamp, moment timestamptz, clock time, tags text[],
    payload jsonb, ref uuid
);
ALTER TABLE items ALTER note SET STORAGE EXTERNAL, ALTER photo SET STORAGE EXTERNAL;
CREATE TABLE pairs (a int, b text, count int, PRIMARY KEY (a, b));
CREATE TABLE signals (id text PRIMARY KEY, type text, data text);
"""
KEYS = {"items": ("id",), "pairs": ("a", "b")}
JOB = """job: live
source: {{type: kafka, bootstrap_servers: '{servers}', topics: [{name}.public.items, {name}.public.pairs]}}
format: {{type: debezium, registry: '{registry}'}}
tables:
  - {{from: {name}.public.items, to: items}}
  - {{from: {name}.public.pairs, to: pairs, on_truncate: apply}}
target: {{type: duckdb, path: out.duckdb}}
"""
LARGE = 9_000
"""Bytes that Postgres keeps out of the row, and that an update without them does not send."""


class Writer:
    """A program that changes the source: random transactions, the same ones for the same seed."""

    def __init__(self, server: postgres_server.PostgresServer, database: str) -> None:
        self._server, self._database, self._random = server, database, random.Random(11)

    def rows(self, query: str) -> list[tuple]:
        return self._server.sql(query, dbname=self._database)

    def write(self, transactions: int, deletes: bool = True) -> None:
        with psycopg.connect(self._server.dsn(dbname=self._database)) as con:
            for _ in range(transactions):
                for _ in range(self._random.randint(1, 6)):
                    self._change(con, deletes)
                con.commit()

    def _change(self, con: psycopg.Connection, deletes: bool) -> None:
        pick, key = self._random, self._random.randint(1, 60)
        values = {
            "name": f"n{pick.random()}", "note": pick.choice("xyz") * LARGE, "photo": pick.randbytes(4) * (LARGE // 4),
            "amount": pick.randint(-10**6, 10**6) / 100, "price": pick.randint(0, 10**9) / 1000,
            "ratio": pick.random(), "flag": pick.random() < 0.5, "day": f"20{pick.randint(10, 30)}-02-03",
            "at": "2026-05-06 07:08:09.123456", "moment": f"2026-01-01 00:00:{pick.randint(10, 59)}+02",
            "clock": "23:59:59.5", "tags": ["a", None, pick.choice("bc")], "payload": f'{{"k": {pick.randint(1, 9)}}}',
            "ref": f"00000000-0000-4000-8000-{pick.randint(0, 9):012d}",
        }  # fmt: skip
        kind = pick.random()
        if kind < 0.35:
            names = ", ".join(values)
            marks = ", ".join(f"%({name})s" for name in values)
            update = ", ".join(f"{name} = excluded.{name}" for name in values)
            query = f"INSERT INTO items (id, {names}) VALUES ({key}, {marks}) ON CONFLICT (id) DO UPDATE SET {update}"
        elif kind < 0.65:
            query = f"UPDATE items SET name = %(name)s, amount = %(amount)s, flag = NULL WHERE id = {key}"
        elif kind < 0.75 and deletes:
            query = f"DELETE FROM items WHERE id = {key}"
        elif kind < 0.8 and deletes:
            free = f"NOT EXISTS (SELECT FROM items WHERE id = {key + 1000})"
            query = f"UPDATE items SET id = {key + 1000}, name = %(name)s WHERE id = {key} AND {free}"
        elif kind < 0.95:
            query = (
                f"INSERT INTO pairs VALUES ({key % 7}, 'k{key % 5}', {key}) ON CONFLICT (a, b) DO UPDATE SET count = 1"
            )
        else:
            query = f"DELETE FROM pairs WHERE a = {key % 7}" if deletes else "UPDATE pairs SET count = count + 1"
        con.execute(query, values)

    def final(self, table: str, key: tuple[str, ...]) -> dict:
        """The source's rows now, as canonical values by key."""
        columns = self.rows(
            "SELECT column_name, CASE data_type WHEN 'ARRAY' THEN 'text[]' ELSE data_type END "
            f"FROM information_schema.columns WHERE table_name = '{table}' ORDER BY ordinal_position"
        )
        texts = self.rows(f"SELECT {', '.join(f'{name}::text' for name, _ in columns)} FROM {table}")
        return recorded_stream.rows_of_texts(columns, texts, key)


class Play:
    """The job beside the source: `proved` runs it up to a row that is written now, and compares."""

    def __init__(self, writer: Writer, file) -> None:
        self._writer, self._file, self._marks = writer, file, 0

    def proved(self) -> None:
        self._marks += 1
        self._writer.rows(f"INSERT INTO items (id) VALUES ({-self._marks})")
        deadline = time.monotonic() + 90
        while not self._reached():
            assert time.monotonic() < deadline, "Debezium does not send what was written"
            time.sleep(0.3)
        assert not self.run().failed
        with closing(target_of(load_job(self._file)).open()) as sink:
            for table, key in KEYS.items():
                rows, final = stored(sink, table, key, as_text=("price",)), self._writer.final(table, key)
                assert rows.keys() == final.keys(), table
                assert not unequal(rows, final), table
        for report in verify_job(load_job(self._file)):
            assert report.outcome is Outcome.EQUAL, report

    def run(self):
        summary = run_once(self._file)
        assert not summary.failed, summary.lines()
        return summary

    def _reached(self) -> bool:
        self.run()
        with closing(target_of(load_job(self._file)).open()) as sink:
            if "items" not in sink.tables():
                return False
            return any(-self._marks in batch.column("id").to_pylist() for batch in sink.scan("items"))


@pytest.fixture(scope="module")
def registry():
    reason = missing_java("Debezium") or postgres_server.missing()
    if reason is not None:
        pytest.skip(reason)
    with Registry() as server:
        yield server


@pytest.fixture(scope="module")
def postgres():
    server = postgres_server.PostgresServer(wal_level="logical")
    yield server
    server.close()


def connector(server, broker, registry, name, **more):
    """A connector of this database's tables, with the signals of incremental snapshots."""
    settings = {
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "database.hostname": "127.0.0.1",
        "database.port": str(server.port),
        "database.user": postgres_server.USER,
        "database.password": postgres_server.PASSWORD,
        "database.dbname": name,
        "topic.prefix": name,
        "table.include.list": "public.items,public.pairs",
        "plugin.name": "pgoutput",
        "slot.name": name,
        "publication.name": name,
        "publication.autocreate.mode": "filtered",
        "signal.data.collection": "public.signals",
        "incremental.snapshot.chunk.size": "8",
        "topic.creation.default.partitions": "3",
        "interval.handling.mode": "numeric",
        "skipped.operations": "none",
        **more,
    }
    return Connector(broker.bootstrap_servers, registry, settings)


def drop_slot(writer, name):
    """The server may not have noticed yet that its reader is gone."""
    writer.rows(f"SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = '{name}'")
    deadline = time.monotonic() + 30
    while writer.rows(f"SELECT active FROM pg_replication_slots WHERE slot_name = '{name}'") == [(True,)]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    writer.rows(f"SELECT pg_drop_replication_slot('{name}')")


def test_postgres(kafka_broker, admin, registry, postgres, tmp_path):
    """Snapshot, kills of the connector, an incremental snapshot, a crash of the server, a connector made anew."""
    name = "live"
    postgres.sql(f"CREATE DATABASE {name}")
    for statement in SCHEMA.split(";\n"):
        postgres.sql(statement, dbname=name) if statement.strip() else None
    file = tmp_path / "job.yaml"
    file.write_text(JOB.format(servers=kafka_broker.bootstrap_servers, name=name, registry=registry.url))
    admin.create_topics([NewTopic(f"{name}.public.{table}", 3, 1) for table in KEYS])
    writer = Writer(postgres, name)
    play = Play(writer, file)
    writer.write(60)
    with connector(postgres, kafka_broker, registry, name) as debezium:
        writer.write(60)
        play.proved()
        debezium.kill()
        writer.write(40)
        debezium.start()
        play.proved()
        writer.rows(
            "INSERT INTO signals VALUES ('one', 'execute-snapshot', "
            """'{"data-collections": ["public.items", "public.pairs"], "type": "incremental"}')"""
        )
        writer.write(60)
        play.proved()
        writer.rows("TRUNCATE pairs")
        writer.write(20)
        play.proved()
        debezium.kill()
        postgres.crash()
        writer.write(20)
        debezium.start()
        play.proved()
        # A connector made anew tells by a snapshot what is there, and not what was deleted while there was none.
        debezium.kill()
        debezium.forget()
        drop_slot(writer, name)
        writer.write(30, deletes=False)
        debezium.start()
        writer.write(30)
        play.proved()
