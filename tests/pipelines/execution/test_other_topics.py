"""Topics of Debezium that a pattern matches too and that hold no table: left out and told, no dead letters."""

import pytest
from support.jobs import SCHEMAS, contracts, event, key, rows, run_once, send, wire, write_job

from millrace.pipelines.cli.check import check
from millrace.pipelines.cli.main import main
from millrace.pipelines.job.load import load_job
from millrace.schemas.envelopes.debezium.other_topics import other_messages

TEXT = ["null", "string"]


def record(name, **fields):
    return {"type": "record", "name": name, "fields": [{"name": part, "type": kind} for part, kind in fields.items()]}


PLACE = record("Place", lsn=["null", "long"], snapshot=TEXT)
DDL = record("SchemaChangeValue", source=PLACE, ts_ms="long", databaseName=TEXT, schemaName=TEXT, ddl=TEXT)
MESSAGE = record("MessageValue", op="string", ts_ms="long", source=PLACE, message=record("M", prefix=TEXT))
OTHERS = {
    "heartbeats": (record("Heartbeat", ts_ms="long"), {"ts_ms": 1}),
    "the metadata of transactions": (
        record("TransactionMetadataValue", status="string", id="string", event_count=["null", "long"], ts_ms="long"),
        {"status": "BEGIN", "id": "571:53195829", "event_count": None, "ts_ms": 1},
    ),
    "schema changes": (
        DDL,
        {
            "source": {"lsn": 1, "snapshot": "true"},
            "ts_ms": 1,
            "databaseName": "shop",
            "schemaName": None,
            "ddl": "CREATE TABLE t (id INT)",
        },
    ),
    "logical decoding messages": (
        MESSAGE,
        {"op": "m", "ts_ms": 1, "source": {"lsn": 1, "snapshot": None}, "message": {"prefix": "audit"}},
    ),
}


def test_a_pattern_that_matches_them_leaves_them_out(embedded_broker, topic_name, tmp_path):
    servers, base = embedded_broker.bootstrap_servers, topic_name("others")
    schemas = {**SCHEMAS, **{10 + number: schema for number, (schema, _) in enumerate(OTHERS.values())}}
    names = {said: f"{base}.o{number}" for number, said in enumerate(OTHERS)}
    send(servers, f"{base}.orders", [(0, key(1), event("c", 1, "a", at=5))])
    for number, (said, (schema, value)) in enumerate(OTHERS.items()):
        send(servers, names[said], [(0, key(1), wire(10 + number, value, schema))] * 2)
    file = write_job(tmp_path, servers, [])
    file.write_text(file.read_text().replace("topics: []", f"topic_pattern: '{base}.*'"))
    contracts(tmp_path / "contracts", schemas)
    findings = {one.what: one.found for one in check(load_job(file)) if "no changes of a table" in one.found}
    assert findings == {
        topic: f"holds {said} and no changes of a table: they are left out" for said, topic in names.items()
    }
    summary = run_once(file)
    assert (summary.failed, summary.total("dead"), summary.total("filtered"), summary.total("applied")) == (
        *(False, 0, 8, 1),
    )
    told = [line for line in summary.lines() if "left out: messages of the topic are" in line]
    assert len(told) == len(OTHERS)
    assert rows(tmp_path, "orders") == [(1, "a", None)]
    assert run_once(file).total("read") == 0
    assert main(["verify", str(file)]) == 0


@pytest.mark.parametrize("fields", [{"id", "name"}, {"ts_ms", "id"}, {"op", "after", "source", "message"}, set()])
def test_nothing_else_is_left_out(fields):
    assert other_messages(fields) == ""
