"""Modes through whole runs: what each table holds, two tables from one read, and both ledgers."""

import duckdb
import pytest
from jobs import event, key, rows, run_once, send, wire, write_job

from millrace.pipelines.config import load_job
from millrace.schemas.errors import JobError

LOG = "id, name, _millrace_change, _millrace_topic, _millrace_partition, _millrace_offset, _millrace_not_sent"
TRUNCATE = wire(2, {"before": None, "after": None, "source": {"sequence": '["15","15"]', "lsn": 15}, "op": "t"})


@pytest.fixture
def topic(embedded_broker, topic_name):
    name = topic_name("modes")
    embedded_broker.create_topic(name, 2)
    return name


def table_of(topic):
    return topic.rpartition(".")[2]


def job(folder, broker, topic, mode, more=""):
    target = f"{{type: duckdb, path: out.duckdb, mode: {mode}}}"
    return write_job(folder, broker.bootstrap_servers, [topic], target=target, more=more)


def test_append_keeps_every_change_once(embedded_broker, topic, tmp_path):
    send(
        embedded_broker.bootstrap_servers,
        topic,
        [
            (0, key(1), event("c", 1, "a", 1, 10)),
            (0, key(1), event("u", 1, "b", 1, 20)),
            (0, key(1), event("u", 1, "b", 1, 20)),
            (0, key(1), event("d", 1, at=30)),
            (0, key(1), None),
            (1, key(2), event("c", 2, "__debezium_unavailable_value", 2, 15)),
            (1, key(3), b"\0no message"),
        ],
    )
    file = job(tmp_path, embedded_broker, topic, "append")
    summary = run_once(file)
    table = table_of(topic)
    assert (summary.total("read"), summary.total("applied"), summary.total("superseded")) == (7, 5, 0)
    assert (summary.total("filtered"), summary.total("dead")) == (1, 1)
    log = [
        (1, "a", "upsert", topic, 0, 0, None),
        (1, "b", "upsert", topic, 0, 1, None),
        (1, "b", "upsert", topic, 0, 2, None),
        (1, None, "delete", topic, 0, 3, None),
        (2, None, "upsert", topic, 1, 0, ["name"]),
    ]
    assert rows(tmp_path, table, LOG) == log
    with duckdb.connect(str(tmp_path / "out.duckdb"), read_only=True) as db:
        found = db.execute(f'SELECT count(*) FROM "{table}" WHERE _millrace_timestamp > now() - INTERVAL 1 HOUR')
        assert found.fetchall() == [(5,)]
    assert run_once(file).total("read") == 0
    assert rows(tmp_path, table, LOG) == log


def test_a_truncate_is_a_row_of_the_log(embedded_broker, topic, tmp_path):
    send(
        embedded_broker.bootstrap_servers,
        topic,
        [(0, key(1), event("c", 1, "a", 1, 10)), (0, None, TRUNCATE), (0, key(2), event("c", 2, "b", 2, 12))],
    )
    table = table_of(topic)
    file = job(tmp_path, embedded_broker, topic, "append")
    assert "on_truncate: apply" in run_once(file).tables[table].error
    more = f"tables: [{{from: {topic}, to: {table}, on_truncate: apply, mode: [mirror, append]}}]\n"
    summary = run_once(job(tmp_path, embedded_broker, topic, "mirror", more))
    assert not summary.failed
    assert rows(tmp_path, table, "id") == []
    assert rows(tmp_path, f"{table}_changes", LOG) == [
        (1, "a", "upsert", topic, 0, 0, None),
        (2, "b", "upsert", topic, 0, 2, None),
        (None, None, "truncate", topic, 0, 1, None),
    ]
    assert [(entry.read, entry.applied + entry.superseded) for entry in summary.tables.values()] == [(3, 3), (3, 3)]
    assert summary.total("read") == 3


def test_a_change_of_the_key_is_a_delete_and_an_upsert_at_one_offset(embedded_broker, topic, tmp_path):
    old, new = {"id": 1, "name": "a", "count": 1}, {"id": 2, "name": "a", "count": 1}
    moved = wire(2, {"before": old, "after": new, "source": {"sequence": '["20","20"]', "lsn": 20}, "op": "u"})
    send(embedded_broker.bootstrap_servers, topic, [(0, key(1), event("c", 1, "a", 1, 10)), (0, key(2), moved)])
    table = table_of(topic)
    more = f"tables: [{{from: {topic}, to: {table}, key: [id], mode: append}}]\n"
    summary = run_once(job(tmp_path, embedded_broker, topic, "mirror", more))
    assert (summary.total("read"), summary.total("applied")) == (2, 2)
    assert rows(tmp_path, table, "id, _millrace_change, _millrace_offset") == [
        (1, "delete", 1),
        (1, "upsert", 0),
        (2, "upsert", 1),
    ]


def test_another_mode_for_a_table_that_is_there_is_refused(embedded_broker, topic, tmp_path):
    send(embedded_broker.bootstrap_servers, topic, [(0, key(1), event("c", 1, "a", 1, 10))])
    run_once(job(tmp_path, embedded_broker, topic, "mirror"))
    send(embedded_broker.bootstrap_servers, topic, [(0, key(1), event("c", 1, "b", 1, 20))])
    error = run_once(job(tmp_path, embedded_broker, topic, "append")).tables[table_of(topic)].error
    assert "begun with mode: mirror and the job says mode: append" in error
    assert rows(tmp_path, table_of(topic), "name") == [("a",)]


def test_tables_that_would_have_one_name_are_refused(tmp_path, embedded_broker, topic_name):
    first = topic_name("t")
    for name in (first, f"{first}_changes"):
        embedded_broker.create_topic(name, 1)
    target = "{type: duckdb, path: out.duckdb, mode: [mirror, append]}"
    file = write_job(tmp_path, embedded_broker.bootstrap_servers, [first, f"{first}_changes"], target=target)
    with pytest.raises(JobError, match=f"would both go to the table '{first}_changes'"):
        run_once(file)
    assert load_job(file).target.modes == ("mirror", "append")
