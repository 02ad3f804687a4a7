"""The recorded Debezium stream through a broker into each target: the source's own rows, all types, then MATCH."""

import json
import struct
from collections import Counter
from contextlib import closing
from decimal import Decimal

import pytest
from support import postgres_server, recorded_stream
from support.jobs import run_once, send

from millrace.pipelines.cli.verify import verify_job
from millrace.pipelines.execution import pass_ranges
from millrace.pipelines.execution.job_parts import target_of
from millrace.pipelines.job.load import load_job
from millrace.transforms.proof.canonical import encode, natural, number
from millrace.transforms.proof.type_coercion import from_target

TARGETS = {
    "duckdb": "{type: duckdb, path: out.duckdb}",
    "delta": "{type: delta, path: lake}",
    "iceberg": "{type: iceberg, namespace: shop, catalog: {type: sql, uri: 'sqlite:///lake.db', warehouse: lake}}",
    "postgres": "{{type: postgres, dsn: \"{dsn}\", schema: '{schema}'}}",
}
TABLES = ("orders", "order_items", "carts")
JOB = """job: store
source: {{type: kafka, bootstrap_servers: '{servers}', topics: [{topics}]}}
format: {{type: debezium, schemas: ./contracts}}
tables:
{tables}
target: {target}
"""
ENTRY = "  - {{from: {prefix}.{table}, to: {table}, on_truncate: apply}}"


def replay(broker, folder, prefix, target):
    """The recording in topics of its own, and a job for them."""
    contracts = folder / "contracts"
    contracts.mkdir()
    recorded_stream.contracts(contracts)
    for table in TABLES:
        broker.create_topic(f"{prefix}.{table}", 3)
        mine = [one for one in recorded_stream.messages() if one.topic == f"store.public.{table}"]
        mine.sort(key=lambda one: (one.partition, one.offset))
        send(broker.bootstrap_servers, f"{prefix}.{table}", [(m.partition, m.key, m.value, m.headers) for m in mine])
    file = folder / "job.yaml"
    topics = ", ".join(f"{prefix}.{table}" for table in TABLES)
    place = TARGETS[target]
    if target == "postgres":
        place = place.format(**{**postgres_server.place(folder), "dsn": postgres_server.server().job_dsn()})
    tables = "\n".join(ENTRY.format(prefix=prefix, table=table) for table in TABLES)
    file.write_text(JOB.format(servers=broker.bootstrap_servers, topics=topics, tables=tables, target=place))
    return file


# ADD COLUMN ... DEFAULT changed old rows without an event (README of the recording).
LATE = {"orders": {("channel", "in stream"): 35, ("channel", "in source"): 69}}
# A month has no fixed length in microseconds (README of the recording).
NOT_COMPARABLE = "hold"
# numeric without a scale arrives as its exact text.
AS_TEXT = "weight"


def from_text(text):
    sign, digits, exponent = Decimal(text).as_tuple()
    return number((-1) ** sign * int("".join(map(str, digits))), -exponent)


def canonical(name, column):
    if name == AS_TEXT:
        return [None if text is None else from_text(text) for text in column.to_pylist()]
    return from_target(column)


def stored(sink, table, key):
    """The target's rows in canonical form, by key."""
    rows = {}
    for batch in sink.scan(table):
        columns = {name: canonical(name, batch.column(name)) for name in batch.schema.names}
        for values in zip(*columns.values(), strict=True):
            row = dict(zip(columns, values, strict=True))
            rows[tuple(row[name] for name in key)] = row
    return rows


def unequal(rows, final):
    """How many values differ from the source's, by column and side."""
    found = Counter()
    for key, expected in final.items():
        for name, value in expected.items():
            held = rows[key].get(name)
            if name == "discount" and value is not None:
                value = struct.unpack("f", struct.pack("f", value))[0]
            if name != NOT_COMPARABLE and encode(natural(held)) != encode(value):
                found[name, "in stream" if held is not None else "in source"] += 1
    return found


@pytest.mark.parametrize("target", TARGETS)
def test_the_target_ends_in_the_sources_rows(target, embedded_broker, topic_name, tmp_path):
    file = replay(embedded_broker, tmp_path, topic_name("store"), target)
    summary = run_once(file)
    assert not summary.failed, summary.lines()
    assert (summary.total("read"), summary.total("dead"), summary.total("unfilled")) == (4009, 0, 0)
    job = load_job(file)
    with closing(target_of(job).open()) as sink:
        for table in TABLES:
            key, final = recorded_stream.final(table)
            rows = stored(sink, table, key)
            assert rows.keys() == final.keys()
            assert unequal(rows, final) == LATE.get(table, {})
    for report in verify_job(job):
        assert report.ok, json.dumps(report.to_json(), indent=1)


def test_many_small_commits_end_in_the_same_rows(embedded_broker, topic_name, tmp_path, monkeypatch):
    monkeypatch.setattr(pass_ranges, "FEWEST", 150)
    monkeypatch.setattr(pass_ranges, "MOST", 150)
    monkeypatch.setattr(pass_ranges.PassSizer, "learn", lambda *_: None)
    file = replay(embedded_broker, tmp_path, topic_name("store"), "duckdb")
    summary = run_once(file)
    assert not summary.failed, summary.lines()
    assert summary.passes > 20
    for report in verify_job(load_job(file)):
        assert report.ok, json.dumps(report.to_json(), indent=1)
