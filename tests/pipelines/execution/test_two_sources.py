"""Two topics or two connectors into one table, by job files: what stops it, and what lets it go on."""

import pytest
from support.jobs import KEY, ROW, SCHEMAS, contracts, event, key, rows, run_once, wire, write_job

from millrace.pipelines.cli.verify import verify_job
from millrace.pipelines.job.load import load_job
from millrace.schemas.errors import JobError
from millrace.transforms.proof.report import Outcome, Verdict
from millrace.transforms.sources.scripted.source import ScriptedSource

ENTRY = "tables: [{{from: [east.orders, west.orders], to: orders{0}}}]\n"


@pytest.fixture
def log(tmp_path):
    source = ScriptedSource(tmp_path.name)
    for topic in ("east.orders", "west.orders"):
        source.create_topic(topic, 1)
    yield source
    source.clear()


def job(folder, log, format="upsert", more=""):
    file = write_job(folder, "-", ["east.orders", "west.orders"], format=format, more=ENTRY.format(more))
    contracts(folder / "contracts", {1: KEY, 2: ROW} if format == "upsert" else SCHEMAS)
    scripted = file.read_text().replace("type: kafka, bootstrap_servers: '-'", f"type: scripted, name: {log.name}")
    file.write_text(scripted)
    return file


def upsert(log, topic, number, name, time):
    value = None if name is None else wire(2, {"id": number, "name": name, "count": None}, ROW)
    log.send(topic, value, key=key(number), partition=0, timestamp=time)


def outcomes(file):
    return [report.outcome for report in verify_job(load_job(file))]


def test_offsets_of_two_topics_are_not_compared(log, tmp_path):
    for turn in range(3):
        upsert(log, "east.orders", 1, f"old {turn}", 1_000 + turn)
    file = job(tmp_path, log)
    assert not run_once(file).failed
    upsert(log, "west.orders", 1, "new", 2_000)
    said = run_once(file).tables["orders"].error
    assert said is not None and "two sources write into it, the topic east.orders and the topic west.orders" in said
    assert "order_by: timestamp" in said
    assert rows(tmp_path, "orders") == [(1, "old 2", None)]
    job(tmp_path, log, more=", order_by: timestamp")
    assert not run_once(file).failed
    assert rows(tmp_path, "orders") == [(1, "new", None)]
    assert outcomes(file) == [Outcome.EQUAL]


def test_two_topics_whose_keys_are_apart_fill_one_table(log, tmp_path):
    upsert(log, "east.orders", 1, "east", 1_000)
    upsert(log, "west.orders", 2, "west", 1_000)
    file = job(tmp_path, log, more=", on_two_sources: separate_keys")
    assert not run_once(file).failed
    assert rows(tmp_path, "orders") == [(1, "east", None), (2, "west", None)]
    assert outcomes(file) == [Outcome.EQUAL]
    upsert(log, "west.orders", 1, "both", 2_000)
    assert not run_once(file).failed
    (report,) = verify_job(load_job(file))
    assert report.outcome is Outcome.DIFFERENT and report.counts[Verdict.DISPUTED] == 1


def test_two_topics_of_one_connector_go_on(log, tmp_path):
    log.send("east.orders", event("c", 1, "first", at=10), key=key(1), partition=0, timestamp=1_000)
    log.send("west.orders", event("u", 1, "second", at=20), key=key(1), partition=0, timestamp=1_001)
    log.send("west.orders", event("c", 2, "other", at=30), key=key(2), partition=0, timestamp=1_002)
    file = job(tmp_path, log, "debezium")
    assert not run_once(file).failed
    assert rows(tmp_path, "orders") == [(1, "second", None), (2, "other", None)]
    assert outcomes(file) == [Outcome.EQUAL]


def test_a_change_without_a_time_is_a_dead_letter_where_clocks_decide(log, tmp_path):
    log.send("east.orders", event("c", 1, "timeless", at=10), key=key(1), partition=0, timestamp=1_000)
    file = job(tmp_path, log, "debezium", ", on_two_sources: newest_time")
    assert "holds no ts_ms, which on_two_sources: newest_time compares" in str(run_once(file).lines())


@pytest.mark.parametrize(
    ("format", "more", "said"),
    [
        ("upsert", "on_two_sources: newest_time", "newest_time needs messages that bear the time of the source"),
        ("debezium", "on_two_sources: newest_time, order_by: timestamp", "leave one of the two out"),
        ("debezium", "on_two_sources: separate_keys, on_truncate: apply", "separate_keys cannot apply a TRUNCATE"),
    ],
)
def test_what_cannot_be_is_refused(log, tmp_path, format, more, said):
    with pytest.raises(JobError, match=said):
        load_job(job(tmp_path, log, format, f", {more}"))
