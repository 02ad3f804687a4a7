"""Dead letters are brought in again as if their messages had been read in their place, counted once, told apart."""

import json

import duckdb
import pytest
from support.jobs import ENVELOPE, SCHEMAS, event, key, rows, run_once, send, wire, write_job

from millrace.pipelines.cli.main import main
from millrace.pipelines.job.load import load_job
from millrace.transforms.dead_letter_marks import replay_under_way

LIMIT = "max_dead_letters: 100%\n"


def late(op, number, name, at):
    """As `support.jobs.event`, of a schema that nobody knows yet."""
    row = {"id": number, "name": name, "count": None}
    source = {"sequence": f'["{at}","{at}"]', "lsn": at}
    before, after = (row, None) if op == "d" else (None, row)
    return wire(3, {"before": before, "after": after, "source": source, "op": op}, ENVELOPE)


def learn(folder):
    """The schema is there now."""
    (folder / "contracts" / "schema.3.avsc").write_text(json.dumps(SCHEMAS[2]))


def sums(folder, counts="sum(read), sum(applied), sum(superseded), sum(filtered), sum(dead)"):
    with duckdb.connect(str(folder / "out.duckdb"), read_only=True) as db:
        return db.execute(f"SELECT {counts} FROM _millrace_ledger").fetchall()[0]


def answer(capsys, *words):
    """(exit status, the JSON that was printed) of a command."""
    status = main([*map(str, words), "--json"])
    return status, json.loads(capsys.readouterr().out)


def messages():
    """Seven are of an unknown schema, some of them older than what comes after them."""
    return [
        (0, key(1), event("c", 1, "a", at=10)),
        (0, key(2), late("c", 2, "late", 20)),
        (0, key(1), late("u", 1, "older", 30)),
        (0, key(1), event("u", 1, "newer", at=40)),
        (0, key(4), event("c", 4, "goes", at=50)),
        (0, key(4), late("d", 4, None, 60)),
        (0, key(4), None),
        (1, key(3), late("r", 3, "snapshot", 5)),
        (1, key(3), event("u", 3, "streamed", at=70)),
        (1, key(5), late("r", 5, "snapshot", 5)),
        (1, key(7), late("c", 7, "a", 80)),
        (1, key(7), late("u", 7, "b", 90)),
    ]


@pytest.fixture
def filled(embedded_broker, topic_name, tmp_path):
    """A job whose first run met messages of an unknown schema."""
    topic = topic_name("replay")
    embedded_broker.create_topic(topic, 2)
    send(embedded_broker.bootstrap_servers, topic, messages())
    file = write_job(tmp_path, embedded_broker.bootstrap_servers, [topic], more=LIMIT)
    summary = run_once(file)
    assert (summary.total("read"), summary.total("dead")) == (12, 7)
    return file, topic


RIGHT = [(1, "newer", None), (2, "late", None), (3, "streamed", None), (5, "snapshot", None), (7, "b", None)]


def test_letters_come_in_and_the_guard_refuses_what_is_older(filled, capsys, tmp_path):
    file, topic = filled
    learn(tmp_path)
    assert main(["verify", str(file)]) == 3
    assert f"next: millrace dead-letters replay {file} && millrace verify {file}" in capsys.readouterr().out
    status, told = answer(capsys, "dead-letters", "replay", file)
    assert (status, told["replayed"], told["still_dead"]) == (0, 7, [])
    assert rows(tmp_path, topic) == RIGHT
    read, applied, superseded, filtered, dead = sums(tmp_path)
    assert (read, dead) == (12, 0) == (applied + superseded + filtered, dead)
    assert main(["verify", str(file)]) == 0
    capsys.readouterr()
    assert main(["dead-letters", "replay", str(file)]) == 0
    assert "0 dead letters replayed" in capsys.readouterr().out
    assert sums(tmp_path)[4] == 0


def test_what_is_still_dead_stays_open(filled, capsys, tmp_path):
    file, topic = filled
    status, told = answer(capsys, "dead-letters", "replay", file)
    assert (status, told["replayed"], len(told["still_dead"])) == (1, 0, 7)
    learn(tmp_path)
    place = f"{topic}[0]@1"
    assert answer(capsys, "dead-letters", "replay", file, "--place", place)[1]["replayed"] == 1
    _, listed = answer(capsys, "dead-letters", "ls", file)
    assert {letter["place"]: letter["state"] for letter in listed}[place] == "replayed"
    assert sorted(letter["state"] for letter in listed) == ["open"] * 6 + ["replayed"]


def test_discarded_letters_are_left_out_of_the_proof(filled, capsys, tmp_path):
    file, _ = filled
    with_reason = ["dead-letters", "discard", str(file), "--reason", "a test of ours"]
    assert main(with_reason) == 2
    assert "--all" in capsys.readouterr().err
    assert answer(capsys, *with_reason, "--all")[1] == {"discarded": 7}
    learn(tmp_path)
    assert main(["verify", str(file)]) == 0
    capsys.readouterr()
    assert answer(capsys, "dead-letters", "replay", file)[1]["replayed"] == 0
    main(["dead-letters", "ls", str(file)])
    assert "discarded: a test of ours" in capsys.readouterr().out


@pytest.mark.parametrize("mode", ["append", "soft_delete", "scd2"])
def test_other_modes(mode, capsys, tmp_path, embedded_broker, topic_name):
    """A history keeps the tombstone of a delete that was dead as a delete of its own, so here is none."""
    topic = topic_name("replay")
    embedded_broker.create_topic(topic, 2)
    send(embedded_broker.bootstrap_servers, topic, [one for one in messages() if one[2] is not None])
    target = f"{{type: duckdb, path: out.duckdb, mode: {mode}}}"
    file = write_job(tmp_path, embedded_broker.bootstrap_servers, [topic], target=target, more=LIMIT)
    assert run_once(file).total("dead") == 7
    learn(tmp_path)
    assert answer(capsys, "dead-letters", "replay", file)[1]["replayed"] == 7
    assert sums(tmp_path, "sum(read), sum(dead)") == (11, 0)
    assert main(["verify", str(file)]) == 0, capsys.readouterr().out


def test_a_replay_that_was_killed_is_finished(filled, capsys, tmp_path, monkeypatch):
    """Between the commit and the mark, the worst place: the ledger knows the replay, so nothing counts twice."""
    from millrace.pipelines.execution import replay_letters

    file, topic = filled
    learn(tmp_path)
    with monkeypatch.context() as killed:
        killed.setattr(replay_letters, "write_mark", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        main(["dead-letters", "replay", str(file)])
    job = load_job(file)
    assert replay_under_way(job.dead_letters, job.job) is not None
    capsys.readouterr()
    assert main(["dead-letters", "discard", str(file), "--reason", "x", "--all"]) == 2
    capsys.readouterr()
    assert answer(capsys, "dead-letters", "replay", file)[1]["replayed"] == 7
    assert (rows(tmp_path, topic), sums(tmp_path)[4]) == (RIGHT, 0)
    assert replay_under_way(job.dead_letters, job.job) is None


def test_messages_keep_their_headers(embedded_broker, topic_name, tmp_path, capsys):
    """A row's new key takes the large value from the row of the old key, which only a header names."""
    topic = topic_name("headers")
    embedded_broker.create_topic(topic, 1)
    moved = late("c", 2, "__debezium_unavailable_value", 30)
    old = [("__debezium.oldkey", b'{"id": 1}')]
    messages = [
        (0, key(1), event("c", 1, "large", at=10)),
        (0, key(1), event("d", 1, at=20), [("__debezium.newkey", b'{"id": 2}')]),
        (0, key(2), moved, old),
    ]
    send(embedded_broker.bootstrap_servers, topic, messages)
    target = "{type: duckdb, path: out.duckdb, mode: soft_delete}"
    file = write_job(tmp_path, embedded_broker.bootstrap_servers, [topic], target=target, more=LIMIT)
    assert run_once(file).total("dead") == 1
    learn(tmp_path)
    assert answer(capsys, "dead-letters", "replay", file)[1]["replayed"] == 1
    assert (2, "large") in rows(tmp_path, topic, "id, name")


def test_a_log_refuses_in_a_sentence(filled, tmp_path, embedded_broker, capsys):
    _, topic = filled
    target = "{type: files, path: log, mode: append}"
    file = write_job(tmp_path, embedded_broker.bootstrap_servers, [topic], target=target, more=LIMIT)
    assert main(["dead-letters", "replay", str(file)]) == 2
    assert "files cannot take dead letters again" in capsys.readouterr().err


def test_a_snapshot_that_came_after_a_letter_stays(capsys, tmp_path, embedded_broker, topic_name):
    """The letter's position could not be read, so the snapshot is placed below it: the log tells that it is newer."""
    topic = topic_name("replay")
    embedded_broker.create_topic(topic, 1)
    sent = [
        (0, key(1), event("c", 1, "first", at=10)),
        (0, key(2), event("c", 2, "first", at=11)),
        (0, key(1), late("u", 1, "dead", 30)),
        (0, key(2), late("u", 2, "dead", 31)),
        (0, key(3), late("c", 3, "dead", 32)),
        (0, key(1), event("r", 1, "snapshot", at=40)),
    ]
    send(embedded_broker.bootstrap_servers, topic, sent)
    file = write_job(tmp_path, embedded_broker.bootstrap_servers, [topic], more=LIMIT)
    run_once(file)
    learn(tmp_path)
    assert answer(capsys, "dead-letters", "replay", file, "--place", f"{topic}[0]@2")[1]["replayed"] == 1
    assert answer(capsys, "dead-letters", "replay", file)[1]["replayed"] == 2
    assert rows(tmp_path, topic) == [(1, "snapshot", None), (2, "dead", None), (3, "dead", None)]
    read, applied, superseded, filtered, dead = sums(tmp_path)
    assert (read, dead) == (6, 0) == (applied + superseded + filtered, dead)
    assert main(["verify", str(file)]) == 0
