"""Partitions are added to a topic, and keys move to others: where offsets alone order the changes, its table stops."""

import tempfile
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.jobs import KEY, ROW, SCHEMAS, contracts, event, key, rows, run_once, wire, write_job

from millrace.pipelines.cli.verify import verify_job
from millrace.pipelines.job.load import load_job
from millrace.transforms.proof.report import Outcome
from millrace.transforms.sources.scripted.source import ScriptedSource

UPSERTS = {1: KEY, 2: ROW}
BY_TIME = "tables: [{from: orders, to: orders, order_by: timestamp}]\n"


@pytest.fixture
def log(tmp_path):
    source = ScriptedSource(tmp_path.name)
    yield source
    source.clear()


def job(folder, log, format="upsert", more="", target=None):
    file = write_job(folder, "-", ["orders"], format=format, more=more, target=target)
    contracts(folder / "contracts", UPSERTS if format == "upsert" else SCHEMAS)
    file.write_text(
        file.read_text().replace("type: kafka, bootstrap_servers: '-'", f"type: scripted, name: {log.name}")
    )
    return file


def upsert(number, name):
    return wire(2, {"id": number, "name": name, "count": None}, ROW)


def two_partitions(log, format="upsert", at=0):
    """Key 1 in partition 1, far behind in offsets, and key 2 in partition 0."""
    log.create_topic("orders", 2)
    make = upsert if format == "upsert" else lambda number, name: event("u", number, name, at=at)
    for turn in range(20):
        log.send("orders", make(1, f"old {turn}"), key=key(1), partition=1, timestamp=1_000 + turn)
    log.send("orders", make(2, "two"), key=key(2), partition=0, timestamp=1_000)


def stopped(file):
    said = run_once(file).tables["orders"].error
    return said is not None and "the topic orders has 3 partitions now, and had 2" in said and "order_by" in said


def test_a_topic_of_upserts_stops_its_table(log, tmp_path):
    two_partitions(log)
    file = job(tmp_path, log)
    assert not run_once(file).failed
    log.create_topic("orders", 3)
    log.send("orders", upsert(1, "new"), key=key(1), partition=2, timestamp=2_000)
    assert stopped(file) and stopped(file)
    assert rows(tmp_path, "orders") == [(1, "old 19", None), (2, "two", None)]


def test_it_stops_also_where_the_key_moved_to_a_partition_that_was_there(log, tmp_path):
    two_partitions(log)
    file = job(tmp_path, log)
    assert not run_once(file).failed
    log.create_topic("orders", 3)
    log.send("orders", upsert(1, "new"), key=key(1), partition=0, timestamp=2_000)
    assert stopped(file)


def test_the_time_of_the_messages_is_the_way_on(log, tmp_path):
    two_partitions(log)
    file = job(tmp_path, log)
    assert not run_once(file).failed
    log.create_topic("orders", 3)
    log.send("orders", upsert(1, "new"), key=key(1), partition=2, timestamp=2_000)
    log.send("orders", None, key=key(2), partition=2, timestamp=2_001)
    assert stopped(file)
    job(tmp_path, log, more=BY_TIME)
    assert not run_once(file).failed
    assert rows(tmp_path, "orders") == [(1, "new", None)]
    assert [report.outcome for report in verify_job(load_job(file))] == [Outcome.EQUAL]


def test_debezium_without_positions_stops_too(log, tmp_path):
    two_partitions(log, "debezium")
    file = job(tmp_path, log, "debezium")
    assert not run_once(file).failed
    log.create_topic("orders", 3)
    log.send("orders", event("u", 1, "new", at=0), key=key(1), partition=2, timestamp=2_000)
    assert stopped(file)


def test_positions_of_the_source_hold_in_all_partitions(log, tmp_path):
    two_partitions(log, "debezium", at=7)
    file = job(tmp_path, log, "debezium")
    assert not run_once(file).failed
    log.create_topic("orders", 3)
    log.send("orders", event("u", 1, "new", at=9), key=key(1), partition=2, timestamp=2_000)
    assert not run_once(file).failed
    assert rows(tmp_path, "orders") == [(1, "new", None), (2, "two", None)]


def test_a_log_of_changes_takes_them(log, tmp_path):
    two_partitions(log)
    file = job(tmp_path, log, target="{type: duckdb, path: out.duckdb, mode: append}")
    assert not run_once(file).failed
    log.create_topic("orders", 3)
    log.send("orders", upsert(1, "new"), key=key(1), partition=2, timestamp=2_000)
    assert not run_once(file).failed


@pytest.mark.parametrize("format", ["upsert", "debezium"])
@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_any_history_by_time_ends_in_the_rows_of_its_writer(format, data):
    """The oracle is the writer's own dictionary: keys go to any partition, the clock never stands still."""
    log, held = ScriptedSource(uuid4().hex), {}
    changes = data.draw(
        st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.booleans()), min_size=1, max_size=20)
    )
    cuts = data.draw(st.sets(st.integers(0, len(changes)), max_size=2)) | {len(changes)}
    log.create_topic("orders", 3)
    with tempfile.TemporaryDirectory() as folder:
        file = job(Path(folder), log, format, more=BY_TIME)
        for turn, (number, partition, gone) in enumerate(changes):
            name = f"turn {turn}"
            held.pop(number, None) if gone else held.__setitem__(number, name)
            if format == "upsert":
                value = None if gone else upsert(number, name)
            else:
                value = event("d" if gone else "u", number, name, at=0)
            log.send("orders", value, key=key(number), partition=partition, timestamp=1_000 + turn)
            if turn + 1 in cuts:
                assert not run_once(file).failed
                assert rows(folder, "orders") == [(number, name, None) for number, name in sorted(held.items())]
        (report,) = verify_job(load_job(file))
        assert report.outcome is Outcome.EQUAL or not report.read
    log.clear()
