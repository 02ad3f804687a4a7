"""A table that stopped: every command knows it, with what waits behind it, until the table goes on."""

import json
import threading

import pytest
from support.jobs import event, key, run_once, send, write_job

from millrace.pipelines.cli.main import main
from millrace.pipelines.execution.progress import Progress
from millrace.pipelines.execution.run_passes import run
from millrace.pipelines.job.load import load_job

BAD = b"x"


@pytest.fixture
def stopped(embedded_broker, topic_name, tmp_path):
    """(servers, topic, table, job file) of a table that stands at its third message."""
    topic = topic_name("shop.orders")
    servers, table = embedded_broker.bootstrap_servers, topic.rpartition(".")[2]
    embedded_broker.create_topic(topic, 1)
    send(servers, topic, [(0, key(n), event("c", n, "a", 1, 10 + n)) for n in range(3)])
    file = write_job(tmp_path, servers, [topic], more="max_dead_letters: 0\n")
    assert not run_once(file).failed
    send(servers, topic, [(0, key(9), BAD), (0, key(4), event("c", 4, "a", 1, 20))])
    return servers, topic, table, file


def said(capsys, *words):
    code = main(list(map(str, words)))
    return code, capsys.readouterr().out


def test_every_command_knows_it(stopped, capsys):
    servers, topic, table, file = stopped
    code, out = said(capsys, "run", file, "--once")
    assert code == 1
    assert "nothing was committed, and 2 messages wait" in out
    assert f"  {table} stopped, 2 messages unread: 1 dead letter among 2 messages" in out
    send(servers, topic, [(0, key(5), event("c", 5, "a", 1, 21))])
    code, out = said(capsys, "run", file, "--once", "--json")
    assert (code, json.loads(out)["lag"], json.loads(out)["tables"][0]["lag"]) == (1, 3, 3)
    again = f"once that is mended: millrace run {file} --once"
    for command in ("status", "verify", "check"):
        _, out = said(capsys, command, file)
        assert "stopped, since 20" in out, command
        assert "max_dead_letters: 0 allows 0" in out, command
        assert again in out, command
    code, out = said(capsys, "verify", file)
    assert code == 0 and "; 3 messages wait behind it" in out
    _, out = said(capsys, "status", file, "--json")
    (partition,) = json.loads(out)
    assert partition["lag"] == 3 and "1 dead letter among" in partition["stopped"]["reason"]


def test_the_note_keeps_its_time_and_goes_when_the_table_goes_on(stopped, capsys, tmp_path):
    servers, topic, _, file = stopped
    assert run_once(file).failed
    (note,) = tmp_path.glob("dead_letters/test/stopped/*.json")
    first = note.read_bytes()
    assert run_once(file).failed
    assert note.read_bytes() == first
    file.write_text(file.read_text().replace("max_dead_letters: 0", "max_dead_letters: 5"))
    assert not run_once(file).failed
    assert not note.exists()
    note.write_bytes(first)
    send(servers, topic, [(0, key(7), event("c", 7, "a", 1, 30))])
    for command in ("status", "verify", "check"):
        assert "stopped" not in said(capsys, command, file)[1], "the ledger has moved on"


def test_a_run_that_goes_on_ends_where_every_table_has_stopped(stopped):
    done = []
    thread = threading.Thread(
        target=lambda: done.append(run(load_job(stopped[3]), once=False, progress=Progress(quiet=True))), daemon=True
    )
    thread.start()
    thread.join(60)
    assert done and done[0].failed and done[0].total("lag") == 2
