"""A table of which something is damaged: it stops with a sentence, the others go on, and it is built again."""

import duckdb
import pytest
from support.jobs import SCHEMAS, contracts, event, key, rows, run_once, write_job

from millrace.pipelines.cli.main import main
from millrace.transforms.sources.scripted.source import ScriptedSource

WORDS = "the row of orders[0] in _millrace_ledger is damaged"


@pytest.fixture
def torn(tmp_path):
    """A job of two tables, of which one has a ledger that was cut."""
    log = ScriptedSource(tmp_path.name)
    file = write_job(tmp_path, "-", ["orders", "customers"])
    contracts(tmp_path / "contracts", SCHEMAS)
    file.write_text(
        file.read_text().replace("type: kafka, bootstrap_servers: '-'", f"type: scripted, name: {log.name}")
    )
    for at in (1, 2):
        for topic in ("orders", "customers"):
            log.create_topic(topic, 1)
            log.send(topic, event("c", at, "a", at=at), key=key(at), timestamp=1_000)
        if at == 1:
            run_once(file)
    with duckdb.connect(str(tmp_path / "out.duckdb")) as con:
        con.execute("UPDATE _millrace_ledger SET mark = mark[1:9] WHERE table_name = 'orders'")
    yield file
    log.clear()


def said(capsys) -> str:
    caught = capsys.readouterr()
    assert "Traceback" not in caught.err
    return " ".join(f"{caught.out} {caught.err}".split())


def test_run_status_and_verify_say_the_same_and_the_other_table_goes_on(torn, tmp_path, capsys):
    for command in (("run", "--once"), ("status",), ("verify",)):
        assert main([command[0], str(torn), *command[1:]]) == (0 if command[0] == "status" else 1)
        told = said(capsys)
        assert WORDS in told and "millrace resync JOB --table orders" in told, command
    assert (rows(tmp_path, "orders", "id"), rows(tmp_path, "customers", "id")) == ([(1,)], [(1,), (2,)])
    assert main(["resync", str(torn), "--table", "orders", "--yes"]) == 0
    assert main(["verify", str(torn)]) == 0
    assert rows(tmp_path, "orders", "id") == [(1,), (2,)]
