"""`millrace resync`: a table is built again from its topics beside the live one, and takes its place."""

import itertools
import json
import threading

import duckdb
import pytest
from support.jobs import event, key, rows, run_once, send, write_job
from support.running_job import Running

from millrace.pipelines.cli.main import main
from millrace.pipelines.job.load import load_job
from millrace.transforms.dead_letter_marks import read_marks
from millrace.transforms.dead_letters import read
from millrace.transforms.resync_notes import ResyncNotes


@pytest.fixture
def filled(embedded_broker, topic_name, tmp_path):
    """A table of two rows, a deleted one, and a dead letter."""
    topic = topic_name("resync")
    embedded_broker.create_topic(topic, 2)
    messages = [
        (0, key(1), event("r", 1, "snapshot", at=5)),
        (0, key(1), event("u", 1, "newer", at=20)),
        (1, key(2), event("c", 2, "b", at=10)),
        (1, key(3), event("c", 3, "c", at=30)),
        (1, key(3), event("d", 3, at=40)),
        (1, key(4), b"bad"),
    ]
    send(embedded_broker.bootstrap_servers, topic, messages)
    file = write_job(tmp_path, embedded_broker.bootstrap_servers, [topic])
    run_once(file)
    return file, topic


def resynced(capsys, file, topic, *words):
    capsys.readouterr()
    status = main(["resync", str(file), "--table", topic, *words, "--json"])
    return status, json.loads(capsys.readouterr().out)


def spoil(folder, topic, statement):
    with duckdb.connect(str(folder / "out.duckdb")) as db:
        db.execute(statement.format(table=f'"{topic}"'))


def test_what_people_did_to_the_table_is_mended(filled, tmp_path, capsys):
    file, topic = filled
    before = rows(tmp_path, topic)
    spoil(
        tmp_path, topic, "UPDATE {table} SET name = 'spoilt' WHERE id = 1; INSERT INTO {table} VALUES (9, 'x', 1, NULL)"
    )
    spoilt = rows(tmp_path, topic)
    status, told = resynced(capsys, file, topic, "--plan")
    offsets = {f"{topic}[0]": {"from": 0, "to": 2}, f"{topic}[1]": {"from": 0, "to": 4}}
    assert (status, told["offsets"], told["done"]) == (0, offsets, False)
    assert rows(tmp_path, topic) == spoilt
    status, told = resynced(capsys, file, topic, "--yes")
    assert (status, told["done"], told["read"], told["dead"]) == (0, True, 6, 1)
    assert rows(tmp_path, topic) == before
    assert run_once(file).total("read") == 0
    assert main(["verify", str(file)]) == 0
    with duckdb.connect(str(tmp_path / "out.duckdb"), read_only=True) as db:
        assert {name for (name,) in db.execute("SELECT table_name FROM duckdb_tables()").fetchall()} == {
            *("_millrace_tables", "_millrace_ledger", topic, f"_millrace_tombstones_{topic}")
        }


def test_dead_letters_count_once_and_a_discarded_one_is_asked_about_again(filled, tmp_path, capsys):
    file, topic = filled
    job = load_job(file)
    assert main(["dead-letters", "discard", str(file), "--reason", "a test", "--all"]) == 0
    assert resynced(capsys, file, topic, "--yes")[0] == 0
    (letter,) = read(job.dead_letters, job.job)
    assert read_marks(job.dead_letters, job.job).of(letter.letter, letter.written_at) is None
    assert ResyncNotes(job.dead_letters, job.job).read(topic) is None


def test_a_dropped_table_and_one_whose_column_has_another_type_now_are_built_again(filled, tmp_path, capsys):
    file, topic = filled
    before = rows(tmp_path, topic)
    spoil(tmp_path, topic, "ALTER TABLE {table} ALTER count TYPE VARCHAR; ALTER TABLE {table} DROP COLUMN name")
    assert resynced(capsys, file, topic, "--yes")[0] == 0
    assert rows(tmp_path, topic) == before
    spoil(tmp_path, topic, "DROP TABLE {table}")
    assert resynced(capsys, file, topic, "--yes")[0] == 0
    assert rows(tmp_path, topic) == before
    assert main(["verify", str(file)]) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--table", "nobody"), "the job fills no such table"),
        ((), "--plan says what it would do, --yes does it"),
    ],
)
def test_what_cannot_be_is_said(filled, capsys, words, said):
    file, topic = filled
    assert main(["resync", str(file), "--table", topic, *words]) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_a_target_that_cannot_is_refused_by_name(embedded_broker, topic_name, tmp_path, capsys):
    topic = topic_name("resync")
    embedded_broker.create_topic(topic, 1)
    target = "{type: files, path: ./log, mode: append}"
    file = write_job(tmp_path, embedded_broker.bootstrap_servers, [topic], target=target)
    assert main(["resync", str(file), "--table", topic, "--yes"]) == 2
    assert "target: files cannot build a table again: a log is only appended to" in capsys.readouterr().err


def test_a_run_goes_on_while_its_table_is_built_again(embedded_broker, topic_name, tmp_path, capsys):
    """The run commits between build and swap, and after it: it neither stops nor misses a message."""
    topic, servers = topic_name("resync"), embedded_broker.bootstrap_servers
    embedded_broker.create_topic(topic, 2)
    position = itertools.count(1)

    def more(count):
        changes = [(number % 7, next(position)) for number in range(count)]
        send(servers, topic, [(id % 2, key(id), event("u", id, f"v{at}", at, at)) for id, at in changes])

    more(50)
    file = write_job(tmp_path, servers, [topic], target="{type: delta, path: ./lake}", more="window: {every: 300ms}\n")
    with Running(file) as run:
        assert run.says("50 read"), run.err
        stop = threading.Event()

        def sending():
            while not stop.wait(0.2):
                more(3)

        thread = threading.Thread(target=sending)
        thread.start()
        try:
            for _ in range(2):
                assert resynced(capsys, file, topic, "--yes")[0] == 0
        finally:
            stop.set()
            thread.join()
        assert run.stop() == 0, run.err
    assert "stops here" not in run.err
    assert main(["run", str(file), "--once"]) == 0
    assert main(["verify", str(file)]) == 0
    assert "EQUAL: every value of 7 rows" in capsys.readouterr().out
