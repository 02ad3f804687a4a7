"""Protobuf into a table, by a folder and by a registry: the rows are those that were sent, and all is proved."""

import json
from contextlib import closing

import pytest
from google.protobuf.message_factory import GetMessageClass
from support.jobs import run_once, send
from support.registry_server import RegistryServer

from millrace.pipelines.cli.verify import verify_job
from millrace.pipelines.execution.job_parts import target_of
from millrace.pipelines.job.load import load_job
from millrace.schemas.encodings.protobuf.messages import main_file, message_named
from millrace.schemas.encodings.protobuf.schema_text import PROTOBUF

MONEY = 'syntax = "proto3"; package parts; message Money { int64 cents = 1; string currency = 2; }'
SHOP = """syntax = "proto3";
package shop;
import "money.proto";
message Key { int64 id = 1; }
message Order { int64 id = 1; optional string name = 2; parts.Money cost = 3; repeated string tags = 4; }
message Envelope {
  optional Order before = 1; optional Order after = 2; string op = 3; Source source = 4; int64 ts_ms = 5;
  message Source { string connector = 1; string name = 2; int64 lsn = 3; int64 txId = 4; int64 ts_ms = 5;
    string snapshot = 6; }
}
"""
FILE = main_file(PROTOBUF.complete(PROTOBUF.parse(SHOP), {"money.proto": PROTOBUF.parse(MONEY)}).descriptors)
KEY, ORDER, ENVELOPE = (GetMessageClass(message_named(FILE, f"shop.{name}")) for name in ("Key", "Order", "Envelope"))
HEAD = {KEY: b"\0\0\0\0\7\0", ORDER: b"\0\0\0\0\7\2\2", ENVELOPE: b"\0\0\0\0\7\2\4"}
JOB = """job: j
source: {{type: kafka, bootstrap_servers: '{servers}', topics: [{topic}]}}
format: {format}
tables: [{{from: {topic}, to: t, key: [id]}}]
target: {{type: duckdb, path: out.duckdb}}
max_dead_letters: 90%
"""


def framed(message):
    return HEAD[type(message)] + message.SerializeToString()


def order(number, name=None, cents=0):
    return ORDER(id=number, name=name, cost={"cents": cents, "currency": "EUR"}, tags=["a"] * number)


def change(op, lsn, before, after):
    source = {"connector": "postgresql", "name": "shop", "lsn": lsn, "txId": lsn, "ts_ms": lsn}
    return ENVELOPE(op=op, before=before, after=after, source=source)


def keyed(number, message):
    return (0, framed(KEY(id=number)), None if message is None else framed(message), [])


STREAMS = {
    "upsert": [
        keyed(1, order(1, "one", 5)),
        keyed(2, order(2, "two")),
        keyed(1, order(1, None, 7)),
        keyed(2, None),
        keyed(3, order(3, "three")),
    ],
    "debezium": [
        keyed(1, change("c", 1, None, order(1, "one", 5))),
        keyed(2, change("c", 2, None, order(2, "two"))),
        keyed(1, change("u", 3, order(1, "one", 5), order(1, None, 7))),
        keyed(2, change("d", 4, order(2, "two"), None)),
        keyed(2, None),
        keyed(3, change("c", 5, None, order(3, "three"))),
    ],
}


def put_schemas(folder):
    folder.mkdir()
    (folder / "shop.7.proto").write_text(SHOP)
    (folder / "money.proto").write_text(MONEY)


@pytest.mark.parametrize("envelope", STREAMS)
@pytest.mark.parametrize("place", ["folder", "registry"])
def test_the_rows_are_those_that_were_sent(envelope, place, embedded_broker, topic_name, tmp_path):
    topic, file = topic_name("protobuf"), tmp_path / "job.yaml"
    embedded_broker.create_topic(topic, 1)
    with RegistryServer() as registry:
        registry.add(7, SHOP, [{"name": "money.proto", "subject": "money", "version": 1}], schemaType="PROTOBUF")
        registry.add_version("money", 1, MONEY, schemaType="PROTOBUF")
        put_schemas(tmp_path / "protos")
        schemas = "schemas: protos" if place == "folder" else f"registry: '{registry.url}'"
        said = f"{{encoding: protobuf, envelope: {envelope}, {schemas}}}"
        file.write_text(JOB.format(servers=embedded_broker.bootstrap_servers, topic=topic, format=said))
        bad = (0, framed(KEY(id=9)), b"\0\0\0\0\7\0\x0a", [])
        send(embedded_broker.bootstrap_servers, topic, [*STREAMS[envelope], bad])
        summary = run_once(file)
        assert not summary.failed and summary.total("dead") == 1, summary.lines()
        job = load_job(file)
        with closing(target_of(job).open()) as sink:
            found = {row["id"]: row for batch in sink.scan("t") for row in batch.to_pylist()}
        assert {number: (row["name"], row["cost"]["cents"], row["tags"]) for number, row in found.items()} == {
            1: (None, 7, ["a"]),
            3: ("three", 0, ["a"] * 3),
        }
        for report in verify_job(job):
            assert report.ok, json.dumps(report.to_json(), indent=1)


def test_bare_messages_are_named_in_the_job_file(embedded_broker, topic_name, tmp_path):
    topic, file = topic_name("protobuf"), tmp_path / "job.yaml"
    embedded_broker.create_topic(topic, 1)
    put_schemas(tmp_path / "protos")
    for side in ("key", "value"):
        (tmp_path / "protos" / f"{topic}-{side}.proto").write_text(SHOP)
    said = "{encoding: protobuf, envelope: upsert, framing: bare, schemas: protos, "
    said += "message: shop.Order, key_message: shop.Key}"
    file.write_text(JOB.format(servers=embedded_broker.bootstrap_servers, topic=topic, format=said))
    sent = [(0, KEY(id=n).SerializeToString(), order(n, "x").SerializeToString(), []) for n in range(1, 6)]
    send(embedded_broker.bootstrap_servers, topic, sent)
    summary = run_once(file)
    assert not summary.failed and summary.total("applied") == 5, summary.lines()
    assert all(report.ok for report in verify_job(load_job(file)))
