"""A live Debezium on MySQL: kills, snapshots, a failover to another server; the table is the source's own rows."""

import time

import pymysql
import pytest
from kafka.admin import NewTopic
from support import mysql_server
from support.debezium import Connector
from support.live_debezium import JOB, KEYS, Play, Writer

from millrace.transforms.proof.canonical import number, parse_time

pytestmark = pytest.mark.timeout(600)

SCHEMA = """
CREATE TABLE items (
    id bigint PRIMARY KEY, name varchar(80), note longtext, photo longblob, amount decimal(12, 2),
    price decimal(40, 10), ratio double, flag tinyint(1), day date, at datetime(6), moment timestamp(6) NULL,
    clock time(6), payload json, kind enum('a', 'b', 'ü'), labels set('x', 'y', 'z'), small smallint unsigned,
    made year, latin varchar(9) CHARSET latin1
);
CREATE TABLE pairs (a int, b varchar(9), count int, PRIMARY KEY (a, b));
CREATE TABLE signals (id varchar(64) PRIMARY KEY, type varchar(64), data text);
"""


class MySqlWriter(Writer):
    """Writes to `server`, which a failover replaces.

    Debezium puts blanks into JSON objects in a snapshot, and none in the stream: there are lists here.
    """

    def __init__(self, server: mysql_server.DatabaseServer) -> None:
        super().__init__()
        self.server = server

    def rows(self, query: str) -> list[tuple]:
        return self.server.sql(query, database="public")

    def connection(self) -> pymysql.Connection:
        return self.server.connect(database="public", autocommit=False)

    def values(self) -> dict[str, object]:
        pick = self.random
        return {
            "name": f"n{pick.random()}", "note": pick.choice("xyz") * 9_000, "photo": pick.randbytes(4) * 900,
            "amount": pick.randint(-10**6, 10**6) / 100, "price": f"{pick.randint(0, 10**29)}.5",
            "ratio": pick.random(), "flag": pick.random() < 0.5, "day": f"20{pick.randint(10, 30)}-02-03",
            "at": "2026-05-06 07:08:09.123456",
            "moment": f"2026-01-01 00:00:{pick.randint(10, 59)}", "clock": "23:59:59.5",
            "payload": f"[{pick.randint(1, 9)}]", "kind": pick.choice("abü"), "labels": pick.choice(["", "x,z"]),
            "small": pick.choice([0, 65535]), "made": pick.randint(1901, 2155), "latin": "é€",
        }  # fmt: skip

    def upsert(self, table: str, values: dict[str, object], marks: str) -> str:
        update = ", ".join(f"{name} = new.{name}" for name in values if name not in KEYS[table])
        into = f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks}) AS new"
        return f"{into} ON DUPLICATE KEY UPDATE {update}"

    def final(self, table: str, key: tuple[str, ...]) -> dict:
        columns = self.rows(
            "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = 'public' "
            f"AND table_name = '{table}' ORDER BY ordinal_position"
        )
        as_text = {"date", "datetime", "timestamp", "time", "decimal"}
        asked = [f"CAST({name} AS char)" if kind in as_text else name for name, kind in columns]
        found = {}
        for values in self.rows(f"SELECT {', '.join(asked)} FROM {table}"):
            row = {name: _value(kind, value) for (name, kind), value in zip(columns, values, strict=True)}
            found[tuple(row[name] for name in key)] = row
        return found


def _value(kind: str, value: object) -> object:
    """As a canonical value."""
    if value is None or kind not in ("date", "datetime", "timestamp", "time", "decimal"):
        return value
    if kind == "decimal":
        whole, _, fraction = value.partition(".")
        return number(int(whole + fraction), len(fraction))
    return parse_time(value, {"date": "date", "time": "time"}.get(kind, "instant"))


@pytest.fixture
def servers_of_mysql():
    """A primary, and a replica that follows it by GTIDs."""
    if mysql_server.MySql.missing():
        pytest.skip(mysql_server.MySql.missing())
    primary, replica = (
        mysql_server.MySql(101, default_time_zone="+00:00"),
        mysql_server.MySql(202, default_time_zone="+00:00"),
    )
    for server in (primary, replica):
        server.sql("RESET BINARY LOGS AND GTIDS")
    replica.sql(
        f"CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = {primary.port}, "
        f"SOURCE_USER = '{mysql_server.USER}', SOURCE_PASSWORD = '{mysql_server.PASSWORD}', SOURCE_AUTO_POSITION = 1, "
        "GET_SOURCE_PUBLIC_KEY = 1"
    )
    replica.sql("START REPLICA")
    for _ in range(7):
        primary.sql("FLUSH BINARY LOGS")
    yield primary, replica
    primary.close()
    replica.close()


def connector(server, broker, registry, name):
    settings = {
        "connector.class": "io.debezium.connector.mysql.MySqlConnector",
        "database.hostname": "127.0.0.1",
        "database.port": str(server.port),
        "database.user": mysql_server.USER,
        "database.password": mysql_server.PASSWORD,
        "database.server.id": "5400",
        "database.include.list": "public",
        "database.ssl.mode": "disabled",
        "driver.allowPublicKeyRetrieval": "true",
        "schema.history.internal": "io.debezium.storage.file.history.FileSchemaHistory",
        "schema.history.internal.file.filename": "{folder}/history",
        "topic.prefix": name,
        "table.include.list": "public.items,public.pairs",
        "signal.data.collection": "public.signals",
        "incremental.snapshot.chunk.size": "8",
        "topic.creation.default.partitions": "3",
        "skipped.operations": "none",
        "include.schema.changes": "false",
    }
    return Connector(broker.bootstrap_servers, registry, settings)


def failed_over(primary, replica, debezium):
    """The primary is gone for good; the connector goes on, by GTIDs, with what was its replica."""
    (done,) = primary.sql("SELECT @@global.gtid_executed")
    replica.sql(f"SELECT WAIT_FOR_EXECUTED_GTID_SET('{done[0]}', 30)")
    debezium.kill()
    primary.kill()
    replica.sql("STOP REPLICA")
    replica.sql("RESET REPLICA ALL")
    debezium.configure({"database.port": str(replica.port)})
    debezium.start()


def test_mysql(kafka_broker, admin, connect_registry, servers_of_mysql, tmp_path):
    """Snapshot, a kill of the connector, an incremental snapshot, a failover, a connector made anew."""
    name = "mylive"
    primary, replica = servers_of_mysql
    primary.sql("CREATE DATABASE public")
    for statement in SCHEMA.split(";\n"):
        primary.sql(statement, database="public") if statement.strip() else None
    file = tmp_path / "job.yaml"
    text = JOB.format(servers=kafka_broker.bootstrap_servers, name=name, registry=connect_registry.url)
    file.write_text(text)
    admin.create_topics([NewTopic(f"{name}.public.{table}", 3, 1) for table in KEYS])
    writer = MySqlWriter(primary)
    play = Play(writer, file)
    writer.write(60)
    with connector(primary, kafka_broker, connect_registry, name) as debezium:
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
        # The files of the new server have lower numbers: only its times tell that its changes are no replays.
        time.sleep(2)
        failed_over(primary, replica, debezium)
        writer.server = replica
        writer.write(40)
        play.stopped("new source")
        file.write_text(f"{text}on_new_source: follow\n")
        play.proved()
        writer.write(20)
        play.proved()
        # A connector made anew tells by a snapshot what is there, and not what was deleted while there was none.
        debezium.kill()
        debezium.forget()
        writer.write(30, deletes=False)
        debezium.start()
        writer.write(30)
        play.proved()
