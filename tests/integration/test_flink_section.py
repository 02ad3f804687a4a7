"""The page about Flink as a person follows it: `make flink`, then the command that it prints."""

import json
import re
import shlex
import sys
from pathlib import Path

import pytest
from support.downloads import missing_java
from support.jobs import event, key, send, write_job
from support.processes import Program, until
from support.running_job import Running

from millrace.pipelines.cli.main import main

TESTS = Path(__file__).parents[1]


@pytest.mark.java
@pytest.mark.timeout(900)
def test_the_command_that_make_flink_prints_runs_a_job(servers, create, tmp_path, capsys):
    reason = missing_java("Flink")
    if reason is not None:
        pytest.skip(reason)
    topic = create(2)
    lake = tmp_path / "lake"
    file = write_job(tmp_path, servers, [topic], target=f"{{type: delta, path: {lake}}}", more="window: {every: 1s}\n")
    send(servers, topic, [(number % 2, key(number), event("c", number, "a", number, number)) for number in range(1, 9)])
    command = [sys.executable, "-m", "support.flink_cluster"]
    with Program(command, tmp_path / "cluster.log", {"PYTHONPATH": str(TESTS)}) as cluster:
        assert until(lambda: "Ctrl-C ends" in cluster.output() or not cluster.running, 600), cluster.output()
        said = cluster.output().replace("\\\n", " ")
        words = shlex.split(re.search(r"^millrace run JOB (.*)$", said, re.M)[1])
        with Running(file, "--json", *words) as run:
            assert run.says(" 8 read", 240), run.err
            send(servers, topic, [(1, key(1), event("d", 1, at=20)), (0, key(2), event("u", 2, "b", 2, 21))])
            assert run.says(" 10 read", 120), run.err
            assert run.stop() == 0, run.err
    assert "savepoint" in run.err, run.err
    (table,) = json.loads(run.out)["tables"]
    assert (table["read"], table["lag"]) == (10, 0)
    assert main(["verify", str(file)]) == 0
    assert "EQUAL" in capsys.readouterr().out
