"""What a command says to do next works when it is typed."""

import sys

import duckdb
import pytest
from support.jobs import event, key, run_once, send, write_job

from millrace.pipelines.cli.main import main


@pytest.fixture
def filled(embedded_broker, topic_name, tmp_path):
    """(topic, job file) of a table of two rows."""
    topic = topic_name("shop.orders")
    embedded_broker.create_topic(topic, 1)
    servers = embedded_broker.bootstrap_servers
    send(servers, topic, [(0, key(n), event("c", n, "a", 1, 10 + n)) for n in range(2)])
    file = write_job(tmp_path, servers, [topic])
    assert not run_once(file).failed
    return topic, file


def test_a_table_that_differs_can_be_built_again(filled, capsys, tmp_path):
    topic, file = filled
    table = topic.rpartition(".")[2]
    with duckdb.connect(str(tmp_path / "out.duckdb")) as db:
        db.execute(f"UPDATE \"{table}\" SET name = 'spoilt' WHERE id = 1")
    assert main(["verify", str(file)]) == 3
    *_, mend, following = capsys.readouterr().out.splitlines()
    command = f"millrace resync {file} --table {table}"
    assert following == f"next: {command} && millrace verify {file}"
    assert f"{command} --plan says what that would do" in mend
    assert main(["resync", str(file), "--table", table, "--yes"]) == 0
    assert main(["verify", str(file)]) == 0


def test_check_names_a_table_that_another_job_keeps(filled, capsys):
    topic, file = filled
    assert main(["check", str(file)]) == 0
    assert "has never written it" not in capsys.readouterr().out
    file.write_text(file.read_text().replace("job: test", "job: other"))
    main(["check", str(file)])
    said = capsys.readouterr().out
    assert f"table {topic.rpartition('.')[2]}" in said
    assert "the job other has never written it: another job may keep it" in said


def test_a_missing_extra_is_told_with_its_line_and_what_installs_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "deltalake", None)
    for name in [name for name in sys.modules if "millrace.transforms.sinks.delta" in name]:
        monkeypatch.delitem(sys.modules, name)
    file = write_job(tmp_path, "127.0.0.1:1", ["t"], target="{type: delta, path: lake}")
    assert main(["compact", str(file)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(
        f"error: {file}:4:16: target.type: delta needs the extra 'delta', which is not installed: pip "
    )
    assert said.endswith("[delta]'\n") or "[delta]' in a clone" in said
