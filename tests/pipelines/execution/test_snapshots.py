"""A connector that lost its place takes a second snapshot: what a run, `status` and `verify` make of it."""

import json
from random import Random

import pytest
from support.jobs import contracts, rows, run_once, send, write_job
from support.simulated_database import PARTITIONS, SCHEMAS, Connector, Database

from millrace.pipelines.cli.main import main
from millrace.pipelines.job.load import load_job
from millrace.schemas.errors import JobError


@pytest.fixture
def connector():
    """A database of six rows, of which a snapshot was sent."""
    database = Database(Random(1), large=False, truncates=False)
    database.touch_all()
    found = Connector(database, replaces=True)
    found.snapshot()
    return found


@pytest.fixture
def job(embedded_broker, topic_name, tmp_path, connector):
    """What makes the job of a policy, its table filled with the first snapshot."""
    topic, servers = topic_name("snapshots"), embedded_broker.bootstrap_servers
    embedded_broker.create_topic(topic, PARTITIONS)

    def told():
        sent, connector.sent = connector.sent, []
        send(servers, topic, [(one.partition, one.key, one.value, one.headers, one.time) for one in sent])

    def made(policy):
        more = f"tables: [{{from: {topic}, to: t, on_snapshot: {policy}}}]\n"
        file = write_job(tmp_path, servers, [topic], more=more)
        contracts(tmp_path / "contracts", SCHEMAS)
        told()
        run_once(file)
        return file, told

    return made


def kept(folder):
    return [row[0] for row in rows(folder, "t", "id")]


def test_rows_that_a_second_snapshot_lacks_end(job, connector, tmp_path, capsys):
    file, told = job("replace")
    del connector.database.rows[3]
    connector.snapshot()
    told()
    summary = run_once(file)
    assert kept(tmp_path) == [0, 1, 2, 4, 5]
    assert "  t: 1 row deleted that a whole snapshot does not have" in summary.lines()
    assert main(["verify", str(file)]) == 0
    capsys.readouterr()
    assert main(["status", str(file), "--json"]) == 0
    assert [part["note"] for part in json.loads(capsys.readouterr().out)] == [None, None]
    assert run_once(file).total("read") == 0


def test_what_a_second_snapshot_may_leave_behind_is_told_once(job, connector, tmp_path, capsys):
    file, told = job("upsert")
    del connector.database.rows[3]
    connector.snapshot()
    told()
    lines = run_once(file).lines()
    assert [line for line in lines if "a further snapshot was read: rows that were deleted at the source" in line]
    assert kept(tmp_path) == [0, 1, 2, 3, 4, 5]
    connector.database.touch_all()
    connector.stream()
    told()
    assert not [line for line in run_once(file).lines() if "further snapshot" in line]
    assert main(["status", str(file)]) == 0
    assert "t: a further snapshot was read" in capsys.readouterr().out
    assert main(["verify", str(file)]) == 0


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("from: [a, b], to: t", "replace needs a table of one topic"),
        ("from: a, order_by: timestamp", "replace needs order_by: position"),
        ("from: a, on_two_sources: separate_keys", "replace needs a table of one source"),
        ("from: a, mode: append", "keeps every message, so there is nothing to replace"),
    ],
)
def test_a_table_that_cannot_be_replaced_is_refused(tmp_path, entry, said):
    more = f"tables: [{{{entry}, on_snapshot: replace}}]\n"
    with pytest.raises(JobError, match=said):
        load_job(write_job(tmp_path, "nowhere:1", ["a", "b"], more=more))


def test_upserts_have_no_snapshots(tmp_path):
    more = "tables: [{from: a, on_snapshot: replace}]\n"
    with pytest.raises(JobError, match="replace needs messages that say where a snapshot begins and ends"):
        load_job(write_job(tmp_path, "nowhere:1", ["a"], format="upsert", more=more))
