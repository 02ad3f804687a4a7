"""A table is built again: what its topic holds no more, topics made anew, kills at each step, runs meanwhile."""

import duckdb
import pytest
from support.jobs import SCHEMAS, contracts, event, key, rows, run_once, write_job

from millrace.pipelines.cli.verify import verify_job
from millrace.pipelines.execution import resync as resyncs
from millrace.pipelines.execution.progress import Progress
from millrace.pipelines.execution.resync import resync
from millrace.pipelines.execution.resync_plan import Older, plan_resync
from millrace.pipelines.job.load import load_job
from millrace.schemas.errors import JobError, MillraceError, TableError
from millrace.schemas.model.ledger import TopicPartition
from millrace.transforms.proof.report import Outcome, Verdict
from millrace.transforms.resync_notes import ResyncNotes
from millrace.transforms.sinks.duckdb.sink import DuckDBSink
from millrace.transforms.sources.scripted.source import ScriptedSource

SOURCE = TopicPartition("orders", 0)


@pytest.fixture
def log(tmp_path):
    source = ScriptedSource(tmp_path.name)
    source.create_topic("orders", 1)
    yield source
    source.clear()


def job(folder, log, more=""):
    file = write_job(folder, "-", ["orders"], more=more)
    contracts(folder / "contracts", SCHEMAS)
    file.write_text(
        file.read_text().replace("type: kafka, bootstrap_servers: '-'", f"type: scripted, name: {log.name}")
    )
    return file


def send(log, *events):
    """(op, number, name, position) each."""
    for op, number, name, at in events:
        log.send("orders", event(op, number, name, at=at), key=key(number), timestamp=1_000 + at)


def built(file, older=Older.REFUSE, **more):
    job = load_job(file)
    return resync(job, plan_resync(job, "orders", older, **more), Progress(quiet=True))


def proof(file):
    (report,) = verify_job(load_job(file))
    return report


HISTORY = (("c", 1, "a", 1), ("c", 2, "b", 2), ("c", 3, "c", 3), ("c", 4, "d", 4))
LATER = (("u", 2, "b2", 12), ("d", 3, None, 13), ("c", 5, "e", 15))


def test_rows_whose_messages_are_gone_are_kept_or_let_go_as_the_user_says(log, tmp_path):
    file = job(tmp_path, log)
    send(log, *HISTORY)
    run_once(file)
    send(log, *LATER)
    run_once(file)
    log.log.forget(SOURCE, 4)
    whole = rows(tmp_path, "orders", "id, name")
    with pytest.raises(TableError, match=r"orders\[0\] from 0 to 4.*--keep-older carries such rows over, --drop-older"):
        built(file)
    assert rows(tmp_path, "orders", "id, name") == whole == [(1, "a"), (2, "b2"), (4, "d"), (5, "e")]
    assert built(file, Older.KEEP).carried == 2
    assert rows(tmp_path, "orders", "id, name") == whole
    report = proof(file)
    assert (report.outcome, report.counts[Verdict.UNPROVEN], report.counts[Verdict.MATCH]) == (Outcome.EQUAL, 2, 2)
    send(log, ("u", 1, "a2", 21), ("d", 4, None, 22))
    run_once(file)
    assert rows(tmp_path, "orders", "id, name") == [(1, "a2"), (2, "b2"), (5, "e")]
    built(file, Older.DROP)
    assert rows(tmp_path, "orders", "id, name") == [(1, "a2"), (2, "b2"), (5, "e")]
    assert proof(file).outcome is Outcome.EQUAL


def test_a_value_that_was_sent_in_a_message_that_is_gone_is_not_lost_unasked(log, tmp_path):
    file = job(tmp_path, log)
    large = "__debezium_unavailable_value"
    send(log, ("c", 1, "large", 1), ("u", 1, large, 2), ("c", 2, "b", 3))
    run_once(file)
    log.log.forget(SOURCE, 1)
    with pytest.raises(TableError, match=r"1 values that its rows have were sent in messages that the topic holds no"):
        built(file, Older.KEEP)
    assert rows(tmp_path, "orders", "id, name") == [(1, "large"), (2, "b")]
    assert built(file, Older.DROP).carried == 0
    assert rows(tmp_path, "orders", "id, name") == [(1, None), (2, "b")]


def test_a_topic_that_was_made_anew_fills_the_table_anew(log, tmp_path):
    file = job(tmp_path, log)
    send(log, *HISTORY)
    run_once(file)
    log.log.delete("orders")
    log.create_topic("orders", 1)
    send(log, ("c", 7, "new", 1))
    assert "was deleted and created again" in run_once(file).tables["orders"].error
    for older in (Older.REFUSE, Older.KEEP):
        with pytest.raises(TableError, match=r"deleted and created again.*--drop-older lets them go"):
            built(file, older)
    built(file, Older.DROP)
    assert rows(tmp_path, "orders", "id, name") == [(7, "new")]
    assert not run_once(file).failed
    assert proof(file).outcome is Outcome.EQUAL


def test_a_table_that_lost_its_offsets_goes_on_again(log, tmp_path):
    file = job(tmp_path, log)
    send(log, *HISTORY)
    run_once(file)
    send(log, *LATER)
    log.log.forget(SOURCE, 6)
    assert run_once(file).failed
    with pytest.raises(TableError, match="Some of it was never read"):
        built(file, Older.KEEP)
    built(file, Older.DROP)
    assert rows(tmp_path, "orders", "id, name") == [(5, "e")]
    assert not run_once(file).failed and proof(file).outcome is Outcome.EQUAL


def test_more_partitions_of_a_topic_without_positions_are_no_hindrance(log, tmp_path):
    """The stop says: fill the table anew."""
    file = job(tmp_path, log)
    for number in (1, 2):
        log.send("orders", event("c", number, "x", at=0), key=key(number), timestamp=1_000)
    run_once(file)
    log.create_topic("orders", 2)
    log.send("orders", event("c", 3, "x", at=0), key=key(3), partition=1, timestamp=1_000)
    run_once(file)
    built(file)
    assert rows(tmp_path, "orders", "id") == [(1,), (2,), (3,)] and not run_once(file).failed


def test_a_run_that_is_faster_is_caught_up_with(log, tmp_path, monkeypatch):
    file = job(tmp_path, log)
    send(log, *HISTORY)
    run_once(file)
    left = [*LATER]

    def meanwhile(self):
        if left:
            send(log, left.pop(0))
            run_once(file)
        return (SOURCE,)

    monkeypatch.setattr(resyncs._Resync, "_sources", meanwhile)
    assert built(file).built.read == 7 and not left
    assert proof(file).outcome is Outcome.EQUAL
    assert run_once(file).total("read") == 0


def test_what_the_source_cannot_give_leaves_the_table_as_it_was(log, tmp_path):
    file = job(tmp_path, log)
    send(log, *HISTORY)
    run_once(file)
    before = rows(tmp_path, "orders")
    for number in SCHEMAS:
        (tmp_path / "contracts" / f"schema.{number}.avsc").unlink()
    with pytest.raises(MillraceError):
        built(file)
    assert rows(tmp_path, "orders") == before and not run_once(file).failed


class Killed(BaseException):
    """The process dies here."""


STEPS = [
    (ResyncNotes, "clear"),
    (DuckDBSink, "drop"),
    (ResyncNotes, "begin"),
    (resyncs, "run"),
    (resyncs._Resync, "_sources"),
    (ResyncNotes, "swaps"),
    (DuckDBSink, "swap"),
    (resyncs, "write_mark"),
]


@pytest.mark.parametrize("behind", [False, True], ids=["before", "behind"])
def test_a_kill_at_each_step_is_taken_up_or_begun_anew(log, tmp_path, behind, monkeypatch):
    """The table is the one or the other, a run goes on with it, and the next resync ends it."""
    file = job(tmp_path, log)
    send(log, *HISTORY, *LATER)
    run_once(file)
    truth, number = [(1, "a"), (2, "b2"), (4, "d"), (5, "e")], 100
    for owner, name in STEPS:
        with duckdb.connect(str(tmp_path / "out.duckdb")) as con:
            con.execute("DELETE FROM orders WHERE id = 1")
        real = getattr(owner, name)

        def dies(*args, _real=real, **more):
            if behind:
                _real(*args, **more)
            raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(owner, name, dies)
            with pytest.raises(Killed):
                built(file)
        assert rows(tmp_path, "orders", "id, name") in (truth, [row for row in truth if row[0] != 1]), (name, behind)
        number += 1
        send(log, ("c", number, "late", number))
        truth = sorted([*truth, (number, "late")], key=repr)
        assert not run_once(file).failed
        built(file)
        assert rows(tmp_path, "orders", "id, name") == truth, (name, behind)
        assert ResyncNotes(load_job(file).dead_letters, "test").read("orders") is None
    assert run_once(file).total("read") == 0 and proof(file).outcome is Outcome.EQUAL


def test_what_was_built_with_other_settings_is_not_taken_up(log, tmp_path, monkeypatch):
    file = job(tmp_path, log)
    send(log, *HISTORY)
    run_once(file)
    with monkeypatch.context() as patch:
        patch.setattr(resyncs._Resync, "_sources", lambda self: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            built(file)
    assert plan_resync(load_job(file), "orders").note is not None
    assert plan_resync(load_job(file), "orders", anew=True).note is None
    job(tmp_path, log, more="tables: [{from: orders, to: orders, on_snapshot: replace}]\n")
    assert plan_resync(load_job(file), "orders").note is None


def test_a_table_that_two_jobs_fill_is_refused(log, tmp_path):
    file = job(tmp_path, log)
    send(log, *HISTORY)
    run_once(file)
    other = file.with_name("other.yaml")
    other.write_text(file.read_text().replace("job: test", "job: west"))
    run_once(other)
    with pytest.raises(JobError, match="the job 'west' fills orders too"):
        built(file)
