"""Modes through whole runs: what each table holds, two tables from one read, and both ledgers."""

import shutil

import duckdb
import pytest
from support.jobs import event, key, rows, run_once, send, wire, write_job

from millrace.pipelines.cli.verify import verify_job
from millrace.pipelines.job.load import load_job
from millrace.schemas.errors import JobError
from millrace.transforms.dead_letters import letters_at, listing

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


def proved(file):
    """Every table of the job is what its topics say; how many rows that are."""
    reports = list(verify_job(load_job(file)))
    assert all(report.ok for report in reports), [report.to_json() for report in reports]
    return {report.table: report.expected for report in reports}


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
    assert proved(file) == {table: 5}


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
    file = job(tmp_path, embedded_broker, topic, "mirror", more)
    summary = run_once(file)
    assert not summary.failed
    assert proved(file) == {table: 0, f"{table}_changes": 3}
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
    file = job(tmp_path, embedded_broker, topic, "mirror", more)
    summary = run_once(file)
    assert (summary.total("read"), summary.total("applied")) == (2, 2)
    assert proved(file) == {table: 3}
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


HISTORY = "id, name, _millrace_valid_from <= coalesce(_millrace_valid_to, now()), _millrace_is_current"


def test_a_table_and_its_history_come_from_one_read(embedded_broker, topic, tmp_path):
    servers, table = embedded_broker.bootstrap_servers, table_of(topic)
    file = job(tmp_path, embedded_broker, topic, "[soft_delete, scd2, append]")
    send(servers, topic, [(0, key(1), event("c", 1, "a", 1, 10)), (1, key(2), event("c", 2, "x", 1, 11))])
    assert run_once(file).total("read") == 2
    more = [(0, key(1), event("u", 1, "b", 1, 20)), (0, key(1), event("d", 1, at=30)), (0, key(1), None)]
    late = [(1, key(2), event("u", 2, "y", 1, 40)), (0, key(2), event("u", 2, "__debezium_unavailable_value", 3, 50))]
    send(servers, topic, [*more, *late, (0, key(3), b"\0poison")])
    summary = run_once(file)
    assert (summary.total("read"), summary.total("dead")) == (6, 1)
    assert [(one.read, one.dead) for one in summary.tables.values()] == [(6, 1)] * 3
    assert rows(tmp_path, table, "id, name, count, _millrace_deleted") == [(1, "b", 1, True), (2, "y", 3, False)]
    assert rows(tmp_path, f"{table}_history", HISTORY) == [
        (1, "a", True, False),
        (1, "b", True, False),
        (2, "x", True, False),
        (2, "y", True, False),
        (2, "y", True, True),
    ]
    assert proved(file) == {table: 2, f"{table}_history": 5, f"{table}_changes": 6}
    with duckdb.connect(str(tmp_path / "out.duckdb")) as db:
        db.execute(f'UPDATE "{table}" SET _millrace_deleted = false WHERE id = 1')
        db.execute(f"UPDATE \"{table}_history\" SET _millrace_valid_to = NULL WHERE name = 'x'")
        db.execute(f'DELETE FROM "{table}_changes" WHERE _millrace_offset = 2')
    found = [report.examples for report in verify_job(load_job(file))]
    assert [(example.verdict, example.column) for (example,) in found] == [
        ("DIFFERS", "_millrace_deleted"),
        ("DIFFERS", "_millrace_valid_to"),
        ("MISSING", None),
    ]


@pytest.mark.parametrize("ahead", ["", "_history", "_changes"])
def test_a_crash_between_two_commits_is_settled_by_each_ledger(embedded_broker, topic, tmp_path, ahead):
    """All tables but one are put back to before their second commit, as a crash behind the first of them leaves it."""
    servers, table, lake = embedded_broker.bootstrap_servers, table_of(topic), tmp_path / "lake"
    target = "{type: delta, path: lake, mode: [mirror, scd2, append]}"
    file = write_job(tmp_path, servers, [topic], target=target)
    send(servers, topic, [(n % 2, key(n % 3), event("u", n % 3, f"v{n}", n, 10 + n)) for n in range(12)])
    run_once(file)
    shutil.copytree(lake, tmp_path / "before")
    send(servers, topic, [(n % 2, key(n % 3), event("u", n % 3, f"w{n}", n, 30 + n)) for n in range(6)])
    send(servers, topic, [(0, key(1), event("d", 1, at=50)), (0, key(1), None)])
    run_once(file)
    for name in {f"{table}{part}" for part in ("", "_history", "_changes")} - {table + ahead}:
        shutil.rmtree(lake / name)
        shutil.copytree(tmp_path / "before" / name, lake / name)
    send(servers, topic, [(1, key(2), event("u", 2, "x", 1, 60))])
    summary = run_once(file)
    for name, one in summary.tables.items():
        assert one.error is None
        assert (one.read, one.filtered) == (9, 1)
        assert one.read == one.applied + one.superseded + one.filtered
        if name == table + ahead:
            assert one.applied == 1
    assert proved(file) == {table: 2, f"{table}_history": 19, f"{table}_changes": 20}


@pytest.mark.parametrize("stopped", ["", "_changes"])
def test_a_table_that_stops_leaves_the_read_to_the_other(embedded_broker, topic, tmp_path, stopped):
    servers, table = embedded_broker.bootstrap_servers, table_of(topic)
    with duckdb.connect(str(tmp_path / "out.duckdb")) as db:
        db.execute(f'CREATE TABLE "{table}{stopped}" (id INTEGER)')
    file = job(tmp_path, embedded_broker, topic, "[mirror, append]")
    send(servers, topic, [(n % 2, key(n), event("c", n, "a", n, 10 + n)) for n in range(4)])
    send(servers, topic, [(0, key(9), b"\0poison")])
    for applied in (4, 0):
        summary = run_once(file)
        other = table if stopped else f"{table}_changes"
        assert "Millrace did not make" in (summary.tables[table + stopped].error or "")
        going = summary.tables[other]
        assert (going.error, going.read, going.applied, going.superseded, going.dead) == (
            None,
            5,
            applied,
            4 - applied,
            1,
        )
    assert len(rows(tmp_path, other, "id")) == 4
    assert [letter["place"] for letter in listing(letters_at(tmp_path / "dead_letters"))] == [f"{topic}[0]@2"]


def test_a_change_log_that_another_job_has_written_is_refused(embedded_broker, topic, tmp_path):
    """A job that was renamed, or a second one on the same folder: each change would stand there twice."""
    servers = embedded_broker.bootstrap_servers
    send(servers, topic, [(0, key(n), event("c", n, "a", n)) for n in range(3)])
    target = "{type: files, path: log}"
    file = write_job(tmp_path, servers, [topic], target=target)
    assert run_once(file).total("applied") == 3
    name = load_job(file).job
    file.write_text(file.read_text().replace(f"job: {name}", "job: renamed"))
    summary = run_once(file)
    error = summary.tables[table_of(topic)].error
    assert f"the job '{name}' has written it from the topic {topic}" in error
    assert summary.failed and summary.total("read") == 0
    file.write_text(file.read_text().replace("job: renamed", f"job: {name}"))
    assert not run_once(file).failed
