"""`millrace rewind`: the ledger goes back, what is missing comes again, what the rows have is refused."""

import json

import duckdb
import pytest
from support.jobs import event, key, rows, run_once, send, write_job

from millrace.pipelines.cli.main import main
from millrace.pipelines.job.load import load_job
from millrace.transforms.dead_letter_marks import read_marks
from millrace.transforms.dead_letters import read

NOON = 1_795_564_800_000


@pytest.fixture
def filled(embedded_broker, topic_name, tmp_path):
    """A table of two rows, one of a snapshot whose change came later, and a dead letter."""
    topic = topic_name("rewind")
    embedded_broker.create_topic(topic, 2)
    messages = [
        (0, key(1), event("r", 1, "snapshot", at=5), [], NOON),
        (0, key(1), event("u", 1, "newer", at=20), [], NOON + 1000),
        (1, key(2), event("c", 2, "b", at=10), [], NOON),
        (1, key(3), event("c", 3, "c", at=30), [], NOON + 2000),
        (1, key(4), b"bad", [], NOON + 3000),
    ]
    send(embedded_broker.bootstrap_servers, topic, messages)
    file = write_job(tmp_path, embedded_broker.bootstrap_servers, [topic])
    run_once(file)
    return file, topic


def rewound(capsys, file, topic, *words):
    status = main(["rewind", str(file), "--table", topic, *words, "--json"])
    return status, json.loads(capsys.readouterr().out)


def test_a_row_that_somebody_deleted_comes_again(filled, tmp_path, capsys):
    file, topic = filled
    before = rows(tmp_path, topic)
    with duckdb.connect(str(tmp_path / "out.duckdb")) as db:
        db.execute(f'DELETE FROM "{topic}" WHERE id = 3')
    assert rewound(capsys, file, topic, "--to", "earliest", "--plan")[1]["done"] is False
    assert run_once(file).total("read") == 0
    status, told = rewound(capsys, file, topic, "--to", "earliest", "--yes")
    offsets = {f"{topic}[0]": {"from": 2, "to": 0}, f"{topic}[1]": {"from": 3, "to": 0}}
    assert (status, told) == (0, {"table": topic, "offsets": offsets, "done": True})
    job = load_job(file)
    (letter,) = read(job.dead_letters, job.job)
    assert read_marks(job.dead_letters, job.job).of(letter.letter, letter.written_at).state == "read again"
    summary = run_once(file)
    assert (summary.total("read"), summary.total("applied"), summary.total("superseded")) == (5, 1, 3)
    assert rows(tmp_path, topic) == before
    (letter,) = read(job.dead_letters, job.job)
    assert read_marks(job.dead_letters, job.job).of(letter.letter, letter.written_at) is None
    assert main(["verify", str(file)]) == 0


def test_back_to_a_time_and_to_an_offset(filled, capsys):
    file, topic = filled
    _, told = rewound(capsys, file, topic, "--to", "2026-11-25", "--plan")
    assert told["offsets"] == {f"{topic}[0]": {"from": 2, "to": 0}, f"{topic}[1]": {"from": 3, "to": 0}}
    assert rewound(capsys, file, topic, "--to", "2", "--plan")[1]["offsets"] == {f"{topic}[1]": {"from": 3, "to": 2}}
    assert rewound(capsys, file, topic, "--to", "9", "--yes")[1] == {"table": topic, "offsets": {}, "done": False}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--table", "nobody", "--to", "0"), "the job fills no such table"),
        (("--to", "soon"), "write an offset, a time such as"),
        (("--to", "0"), "--plan says what it would do, --yes does it"),
    ],
)
def test_what_cannot_be_is_said(filled, capsys, words, said):
    file, topic = filled
    assert main(["rewind", str(file), "--table", topic, *words]) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_the_proof_knows_the_users_own_placeholder(embedded_broker, topic_name, tmp_path):
    topic = topic_name("own-text")
    embedded_broker.create_topic(topic, 1)
    messages = [(0, key(1), event("c", 1, "large", 1, at=1)), (0, key(1), event("u", 1, "left out", 2, at=2))]
    send(embedded_broker.bootstrap_servers, topic, messages)
    format = "debezium, unavailable_value: left out"
    file = write_job(tmp_path, embedded_broker.bootstrap_servers, [topic], format=format)
    run_once(file)
    assert rows(tmp_path, topic) == [(1, "large", 2)]
    assert main(["verify", str(file)]) == 0
