"""The recorded Debezium stream, flattened: in each mode of deletes it ends in the source's own rows, then MATCH."""

import json
from contextlib import closing

import pytest
from support import recorded_stream
from support.connect_json import as_json
from support.flat_messages import Flattener
from support.jobs import rows as jobs_rows
from support.jobs import run_once, send
from support.stored_rows import stored, unequal

from millrace.pipelines.cli.verify import verify_job
from millrace.pipelines.execution.job_parts import target_of
from millrace.pipelines.job.load import load_job
from millrace.schemas.encodings.avro.schema_text import AVRO
from millrace.schemas.encodings.schema_store import FolderSchemaStore
from millrace.transforms.sources.scripted.source import ScriptedSource

CASES = [("avro", "tombstone"), ("avro", "rewrite"), ("json", "rewrite-with-tombstone")]
TABLES = ("orders",)
"""One of the recording without a TRUNCATE, which the transform drops."""
# As in test_recorded.
NOT_COMPARABLE, AS_TEXT, SINGLES = ("hold",), ("weight",), ("discount",)
LATE = {"orders": {("channel", "in stream"): 35, ("channel", "in source"): 69}}

UNFILLED = {("notes", "in source"): 2, ("photo", "in source"): 1}


@pytest.mark.parametrize(("encoding", "mode"), CASES)
def test_the_target_ends_in_the_sources_rows(encoding, mode, embedded_broker, topic_name, tmp_path):
    contracts, prefix = tmp_path / "contracts", topic_name("flat")
    contracts.mkdir()
    flattener = Flattener(recorded_stream.contracts(contracts), contracts, mode)
    for table in TABLES:
        mine = [one for one in recorded_stream.messages() if one.topic == f"store.public.{table}"]
        mine.sort(key=lambda one: (one.partition, one.offset))
        sent = [one for one in map(flattener.flat, mine) if one is not None]
        if encoding == "json":
            schemas = FolderSchemaStore(contracts, AVRO)
            sent = [as_json(one, schemas) for one in sent]
        embedded_broker.create_topic(f"{prefix}.{table}", 3)
        send(
            embedded_broker.bootstrap_servers,
            f"{prefix}.{table}",
            [(m.partition, m.key, m.value, m.headers) for m in sent],
        )
    schemas = "schemas: ./contracts, " if encoding == "avro" else ""
    flat = "tombstone" if mode == "tombstone" else "rewrite"
    file = tmp_path / "job.yaml"
    file.write_text(
        f"job: flat\nsource: {{type: kafka, bootstrap_servers: '{embedded_broker.bootstrap_servers}', topics: "
        f"[{', '.join(f'{prefix}.{table}' for table in TABLES)}]}}\n"
        f"format: {{encoding: {encoding}, envelope: debezium, {schemas}flat: {flat}}}\n"
        f"target: {{type: duckdb, path: out.duckdb}}\n"
    )
    summary = run_once(file)
    assert not summary.failed, summary.lines()
    # A tombstone does not say that its row went to another key: large values that were not sent with it are lost.
    unfilled, expected = (3, {"orders": LATE["orders"] | UNFILLED}) if mode == "tombstone" else (0, LATE)
    assert (summary.total("dead"), summary.total("unfilled")) == (0, unfilled)
    job = load_job(file)
    with closing(target_of(job).open()) as sink:
        for table in TABLES:
            key, final = recorded_stream.final(table)
            rows = stored(sink, table, key, as_text=AS_TEXT)
            assert rows.keys() == final.keys()
            assert unequal(rows, final, singles=SINGLES, left_out=NOT_COMPARABLE) == expected.get(table, {})
    for report in verify_job(job):
        assert report.ok, report.to_json()


@pytest.mark.parametrize("mode", ["tombstone", "rewrite"])
def test_flat_messages_of_json_without_a_schema(mode, tmp_path):
    """A row of a snapshot, updates, a replay of them, and a delete; another row stays."""
    source = ScriptedSource(f"flat-{mode}")
    source.create_topic("shop.orders")
    rewrites = mode == "rewrite"

    def send_row(op, number, name, lsn):
        deleted = {"__deleted": "true" if op == "d" else "false"} if rewrites else {}
        row = {"id": number, "name": name, "__op": op, "__source_lsn": lsn, "__source_sequence": None, **deleted}
        source.send("shop.orders", json.dumps(row).encode(), key=json.dumps({"id": number}).encode())

    send_row("r", 1, "first", 5)
    send_row("r", 2, None, 5)
    for name, lsn in (("old", 7), ("new", 9), ("old", 7), ("new", 9)):
        send_row("u", 1, name, lsn)
    if rewrites:
        send_row("d", 2, None, 11)
    else:
        source.send("shop.orders", None, key=b'{"id": 2}')
    file = tmp_path / "job.yaml"
    file.write_text(
        f"job: flat\nsource: {{type: scripted, name: flat-{mode}, topics: [shop.orders]}}\n"
        f"format: {{encoding: json, framing: plain, envelope: debezium, flat: {mode}}}\n"
        "target: {type: duckdb, path: out.duckdb, mode: [mirror, append]}\n"
    )
    summary = run_once(file)
    assert (summary.failed, summary.total("dead")) == (False, 0), summary.lines()
    assert jobs_rows(tmp_path, "orders", "id, name") == [(1, "new")]
    for report in verify_job(load_job(file)):
        assert report.ok, report.to_json()
    source.clear()
