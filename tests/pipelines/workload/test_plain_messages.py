"""Made-up streams in Maxwell's and GoldenGate's messages: the table that they lead to is the workload's own."""

import json

import pytest
from support.jobs import rows, run_once

from millrace.pipelines.cli.verify import verify_job
from millrace.pipelines.job.load import load_job
from millrace.pipelines.workload.change_stream import Stream, Workload
from millrace.pipelines.workload.plain_messages import PlainEncoder
from millrace.pipelines.workload.produce import Order, produce
from millrace.transforms.sources.scripted.source import ScriptedSource

COLUMNS = "{quantity: int32, amount: 'decimal(9,2)', updated_at: timestamp}"


@pytest.mark.parametrize("form", ["maxwell", "goldengate"])
def test_the_table_is_that_of_the_workload(form, tmp_path):
    source = ScriptedSource(f"workload-{form}")
    source.create_topic("shop.orders", 2)
    workload = Workload(
        changes=400, keys=30, deletes=0.1, key_changes=0.1, replays=0.2, poison=0.02, partitions=2, format=form
    )
    stream = Stream(workload, PlainEncoder(form, "shop.orders"))
    for partition, key, value in stream.messages():
        source.send("shop.orders", value, key=key, partition=partition)
    assert stream.counts["tombstones"] == 0
    assert min(stream.counts[name] for name in ("deletes", "key_changes", "replays", "poison")) > 0
    file = tmp_path / "job.yaml"
    file.write_text(
        f"job: w\nsource: {{type: scripted, name: workload-{form}, topics: [shop.orders]}}\n"
        f"format: {{type: {form}}}\ntables: [{{from: shop.orders, to: orders, columns: {COLUMNS}}}]\n"
        "target: {type: duckdb, path: out.duckdb}\n"
    )
    summary = run_once(file)
    assert (summary.failed, summary.total("dead")) == (False, stream.counts["poison"]), summary.lines()
    names = "id, customer, status, quantity, amount, note, updated_at"
    expected = [tuple(row.values().values()) for row in stream.rows.values()]
    assert sorted(rows(tmp_path, "orders", names)) == sorted(expected)
    for report in verify_job(load_job(file)):
        assert report.ok, report.to_json()
    source.clear()


def test_messages_name_the_table_that_the_job_reads(tmp_path):
    file = tmp_path / "job.yaml"
    for topic, more, table in (("shop.orders", "", "shop.orders"), ("all", ", only: 'sh*.orders'", "shx.orders")):
        file.write_text(
            f"job: w\nsource: {{type: kafka, bootstrap_servers: 'a:1', topics: [{topic}]}}\n"
            f"format: {{type: maxwell{more}}}\ntarget: {{type: duckdb, path: out.duckdb}}\n"
        )
        order = Order.of_job(file)
        assert (order.format, order.table) == ("maxwell", table)


def test_an_update_tells_what_it_changed():
    stream = Stream(
        Workload(changes=60, keys=2, deletes=0, key_changes=0, format="maxwell"), PlainEncoder("maxwell", "s.t")
    )
    updates = [json.loads(value) for _, _, value in stream.messages() if b'"type":"update"' in value]
    assert updates and all(one["old"] and one["old"].items() != one["data"].items() for one in updates)


def test_produce_sends_them_in_the_jobs_format(embedded_broker, topic_name, tmp_path):
    topic, file = topic_name("orders"), tmp_path / "job.yaml"
    servers = embedded_broker.bootstrap_servers
    file.write_text(
        f"job: w\nsource: {{type: kafka, bootstrap_servers: '{servers}', topics: [{topic}]}}\n"
        "format: {type: goldengate, only: SHOP.ORDERS}\n"
        f"tables: [{{from: {topic}, to: orders, columns: {COLUMNS}}}]\n"
        "target: {type: duckdb, path: out.duckdb}\n"
    )
    order = Order.of_job(file)
    done = produce(order, Workload(changes=200, keys=20, poison=0, format=order.format, partitions=2))
    summary = run_once(file)
    assert (summary.failed, summary.total("read"), summary.total("dead")) == (False, done.messages, 0)
