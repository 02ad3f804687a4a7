"""A live Debezium: after each thing that happens to it, the table is the source's own rows, and `verify` agrees."""

import time

import duckdb
import psycopg
import pytest
from kafka.admin import NewTopic
from support import postgres_kinds as kinds
from support import postgres_server, recorded_stream
from support.debezium import Connector
from support.jobs import run_once
from support.live_debezium import JOB, KEYS, Play, Writer
from support.postgres_source import SourceDatabase

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
LARGE = 9_000
"""Bytes that Postgres keeps out of the row, and that an update without them does not send."""


class PostgresWriter(Writer):
    def __init__(self, server: postgres_server.PostgresServer, database: str) -> None:
        super().__init__()
        self._server, self._database = server, database

    def rows(self, query: str) -> list[tuple]:
        return self._server.sql(query, dbname=self._database)

    def connection(self) -> psycopg.Connection:
        return psycopg.connect(self._server.dsn(dbname=self._database))

    def values(self) -> dict[str, object]:
        pick = self.random
        return {
            "name": f"n{pick.random()}", "note": pick.choice("xyz") * LARGE, "photo": pick.randbytes(4) * (LARGE // 4),
            "amount": pick.randint(-10**6, 10**6) / 100, "price": pick.randint(0, 10**9) / 1000,
            "ratio": pick.random(), "flag": pick.random() < 0.5, "day": f"20{pick.randint(10, 30)}-02-03",
            "at": "2026-05-06 07:08:09.123456", "moment": f"2026-01-01 00:00:{pick.randint(10, 59)}+02",
            "clock": "23:59:59.5", "tags": ["a", None, pick.choice("bc")], "payload": f'{{"k": {pick.randint(1, 9)}}}',
            "ref": f"00000000-0000-4000-8000-{pick.randint(0, 9):012d}",
        }  # fmt: skip

    def upsert(self, table: str, values: dict[str, object], marks: str) -> str:
        key = KEYS[table]
        update = ", ".join(f"{name} = excluded.{name}" for name in values if name not in key)
        into = f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})"
        return f"{into} ON CONFLICT ({', '.join(key)}) DO UPDATE SET {update}"

    def final(self, table: str, key: tuple[str, ...]) -> dict:
        columns = self.rows(
            "SELECT column_name, CASE data_type WHEN 'ARRAY' THEN 'text[]' ELSE data_type END "
            f"FROM information_schema.columns WHERE table_name = '{table}' ORDER BY ordinal_position"
        )
        texts = self.rows(f"SELECT {', '.join(f'{name}::text' for name, _ in columns)} FROM {table}")
        return recorded_stream.rows_of_texts(columns, texts, key)


@pytest.fixture(scope="module")
def postgres():
    if postgres_server.missing():
        pytest.skip(postgres_server.missing())
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


def test_postgres(kafka_broker, admin, connect_registry, postgres, tmp_path):
    """Snapshot, kills of the connector, an incremental snapshot, a crash of the server, a connector made anew."""
    name = "live"
    postgres.sql(f"CREATE DATABASE {name}")
    for statement in SCHEMA.split(";\n"):
        postgres.sql(statement, dbname=name) if statement.strip() else None
    file = tmp_path / "job.yaml"
    file.write_text(JOB.format(servers=kafka_broker.bootstrap_servers, name=name, registry=connect_registry.url))
    admin.create_topics([NewTopic(f"{name}.public.{table}", 3, 1) for table in KEYS])
    writer = PostgresWriter(postgres, name)
    play = Play(writer, file, as_text=("price",))
    writer.write(60)
    with connector(postgres, kafka_broker, connect_registry, name) as debezium:
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


def test_types_are_those_of_a_job_that_reads_the_database_itself(kafka_broker, admin, connect_registry, tmp_path):
    """Every column, of the snapshot and of the log, by both ways: the same types in the target, the same values."""
    shop = SourceDatabase(tmp_path)
    for statement in kinds.STATEMENTS:
        shop.sql(statement)
    shop.sql(kinds.create("kinds", kinds.SHARED))
    shop.sql(kinds.insert("kinds", 1, kinds.SHARED))
    admin.create_topics([NewTopic(f"{shop.name}.public.kinds", 1, 1)])
    theirs = tmp_path / "theirs.yaml"
    theirs.write_text(
        f"job: theirs\nsource: {{type: kafka, bootstrap_servers: '{kafka_broker.bootstrap_servers}', "
        f"topics: [{shop.name}.public.kinds]}}\nformat: {{type: debezium, registry: '{connect_registry.url}'}}\n"
        "target: {type: duckdb, path: theirs.duckdb}\n"
    )
    slot = {"slot.name": f"{shop.name}_theirs", "publication.name": f"{shop.name}_theirs"}
    settings = {**slot, "table.include.list": "public.kinds", "topic.creation.default.partitions": "1"}
    with connector(shop.server, kafka_broker, connect_registry, shop.name, **settings):
        deadline = time.monotonic() + 60
        while not shop.sql(f"SELECT 1 FROM pg_replication_slots WHERE slot_name = '{slot['slot.name']}' AND active"):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        ours = shop.job("public.kinds")
        shop.run(ours)
        shop.sql(kinds.insert("kinds", 2, kinds.SHARED))
        shop.sql("INSERT INTO kinds (id) VALUES (3)")
        shop.run(ours)
        query = f"SELECT id, {', '.join(name.split()[0] for name in kinds.SHARED)} FROM kinds ORDER BY id"
        while len(found := _rows_where_there(tmp_path / "theirs.duckdb", query)[1]) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.3)
            run_once(theirs)
    drop_slot(PostgresWriter(shop.server, shop.name), slot["slot.name"])
    described = [_rows_where_there(tmp_path / name, query)[0] for name in ("theirs.duckdb", "w.duckdb")]
    assert described[0] == described[1]
    assert repr(found) == repr(shop.rows(query))
    shop.close()


def _rows_where_there(path, query):
    """The types and the rows of a table in DuckDB; nothing before there is one."""
    if not path.exists():
        return [], []
    with duckdb.connect(str(path), read_only=True) as con:
        con.execute("SET TimeZone = 'UTC'")
        if ("kinds",) not in con.execute("SHOW TABLES").fetchall():
            return [], []
        done = con.execute(query)
        return [(one[0], str(one[1])) for one in done.description], done.fetchall()
