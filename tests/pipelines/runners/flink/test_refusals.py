"""Settings that lose data or stall, on the command line: `run` refuses them before anything, `check` prints the fix."""

import json

import pytest
from support.flink_rest_server import FlinkAnswers
from support.jobs import write_job

from millrace.pipelines.cli.main import main

REFUSED = {
    "no checkpoints": (
        ["--checkpointing_interval=-1"],
        "checkpointing_interval",
        "-1: no checkpoints, a fault ends the job",
        "set --checkpointing_interval=10000 (milliseconds)",
    ),
    "no state cache": (
        ["--max_cache_memory_usage_mb=0"],
        "max_cache_memory_usage_mb",
        "0: each access to state is a call to Flink",
        "set --max_cache_memory_usage_mb=128",
    ),
    "another Flink": (
        ["--flink_version=2.0"],
        "flink_version",
        "2.0, but the cluster is Flink 1.19.3; this Beam has runners for ",
        "they must be of the same minor version",
    ),
    "one worker": (
        ["--sdk_worker_parallelism=1"],
        "sdk_worker_parallelism",
        "1 Python process for the 2 slots of a TaskManager: they take turns",
        "set it to 2, or leave it out",
    ),
}


@pytest.fixture
def flink():
    with FlinkAnswers() as server:
        yield server


@pytest.fixture
def words(flink, embedded_broker, topic_name, tmp_path):
    """A job file, and options that nothing is wrong with."""
    topic = topic_name("refused")
    embedded_broker.create_topic(topic, 1)
    target = f"{{type: delta, path: {tmp_path / 'lake'}}}"
    file = write_job(tmp_path, embedded_broker.bootstrap_servers, [topic], target=target)
    workers = ["--environment_type=EXTERNAL", "--environment_config=localhost:50000"]
    return [str(file), "--runner", "FlinkRunner", f"--flink_master={flink.url}", "--parallelism=4", *workers]


def test_check_prints_each_setting_and_that_all_are_good(words, capsys):
    assert main(["check", *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "ready to run"
    for _, what, _, _ in REFUSED.values():
        assert any(line.split()[:2] == ["ok", what] for line in lines), lines


@pytest.mark.parametrize("case", REFUSED)
def test_check_prints_a_table_with_the_fix(words, capsys, case):
    options, what, found, fix = REFUSED[case]
    assert main(["check", *words, *options]) == 1
    *lines, last = capsys.readouterr().out.splitlines()
    (failed,) = (line for line in lines if line.startswith("fail"))
    assert failed.split()[1] == what
    assert failed.partition(what)[2].strip().startswith(found) and failed.endswith(f"; {fix}")
    assert last == f"1 of {len(lines)} checks failed"
    # One column: what was found begins at the same place in each line.
    column = failed.index(found)
    assert all(line[column - 2 : column] == "  " and line[column] != " " for line in lines), lines
    assert main(["check", *words, *options, "--json"]) == 1
    (told,) = (one for one in json.loads(capsys.readouterr().out) if one["level"] == "fail")
    assert (told["what"], told["fix"]) == (what, fix)


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("more", [[], ["--detach"]], ids=["watched", "detached"])
def test_run_refuses_in_one_sentence_and_submits_nothing(flink, words, tmp_path, capsys, case, more):
    options, what, found, fix = REFUSED[case]
    assert main(["run", *words, *options, *more]) == 2
    out, err = capsys.readouterr()
    (sentence,) = err.splitlines()
    assert sentence.startswith(f"error: --runner FlinkRunner: {what}: {found}") and sentence.endswith(f"; {fix}")
    assert out == ""
    assert {method for method, _, _ in flink.asked} == {"GET"}
    assert not (tmp_path / "lake").exists()


def test_check_warns_of_what_a_runner_does_to_a_job(words, tmp_path, capsys):
    file = tmp_path / "event.yaml"
    file.write_text((tmp_path / "job.yaml").read_text() + "window: {by: event}\n")
    assert main(["check", str(file), *words[1:]]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "window.by" in line]
    assert line.startswith("warn")
    assert "remembers each read" in line
    main(["check", str(file), "--runner", "DataflowRunner"])
    assert "is a folder of each worker" in capsys.readouterr().out
    file.write_text(file.read_text() + "dead_letters: {path: 'gs://bucket/letters'}\n")
    main(["check", str(file), "--runner", "DataflowRunner"])
    assert "is a folder of each worker" not in capsys.readouterr().out
