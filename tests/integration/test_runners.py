"""The runners themselves, with a pipeline that has nothing of Millrace in it: what they lose, and what they do not."""

import os
import sys
import time
from pathlib import Path

import pytest
from support.numbers_pipeline import RATE, SPLITS, holes, submit, written
from support.processes import Program, until

from millrace.pipelines.runners.flink.options import flink_options
from millrace.pipelines.runners.flink.rest import FlinkRest

SECOND = SPLITS * RATE
ENOUGH = 8 * SECOND


def come(folder, more=ENOUGH, seconds=240):
    """Whether so many numbers were written, on top of those there are."""
    wanted = max(written(folder), default=0) + more
    return until(lambda: max(written(folder), default=0) >= wanted, seconds, 0.5)


@pytest.mark.timeout(900)
def test_prism_streams(prism_binary, tmp_path):
    """It takes one split's watermark for that of all: what another one brings is late, and must not be dropped."""
    options = ["--runner=PrismRunner", f"--prism_location={prism_binary}", "--environment_type=LOOPBACK"]
    result = submit(tmp_path, options, lateness=600)
    assert come(tmp_path)
    result.cancel()
    assert holes(tmp_path) == []
    assert len(written(tmp_path)) == len(set(written(tmp_path)))


@pytest.fixture
def numbers_on_flink(flink_cluster, flink_jar, tmp_path):
    """The pipeline on the cluster with Millrace's options: (its folder, its id)."""
    name = f"numbers-{time.time_ns()}"
    arguments = [
        f"--flink_master={flink_cluster.url}",
        f"--flink_job_server_jar={flink_jar}",
        "--environment_type=EXTERNAL",
        f"--environment_config={flink_cluster.workers.address}",
        "--parallelism=2",
        "--checkpointing_interval=1000",
    ]
    submit(tmp_path, flink_options(name, arguments))
    rest = FlinkRest(flink_cluster.url)
    assert come(tmp_path), flink_cluster.output()
    yield tmp_path, rest.job(name).id
    rest.cancel(rest.job(name).id)
    assert until(lambda: not rest.job(name).live, 60)


def checkpoints(cluster, job):
    return cluster.get(f"/jobs/{job}/checkpoints")["counts"]["completed"]


@pytest.mark.java
@pytest.mark.timeout(1800)
def test_flink_drops_nothing_as_late_after_a_worker_was_killed(flink_cluster, numbers_on_flink):
    """With Beam's own options each checkpoint after the recovery loses a part of a second."""
    folder, job = numbers_on_flink
    for _ in range(3):
        before = checkpoints(flink_cluster, job)
        assert until(lambda before=before: checkpoints(flink_cluster, job) >= before + 2, 120)
        os.kill(flink_cluster.workers.children()[0], 9)
        assert come(folder), flink_cluster.output()
    before = checkpoints(flink_cluster, job)
    assert until(lambda: checkpoints(flink_cluster, job) >= before + 3, 120)
    assert come(folder, 2 * SECOND), flink_cluster.output()
    assert holes(folder) == []


def test_a_program_ends_with_the_process_that_started_it(tmp_path):
    code = (
        "from pathlib import Path; from support.processes import Program\n"
        f"program = Program(['sleep', '600'], Path({str(tmp_path / 'log')!r})); print(program.pid, flush=True)\n"
        "import os; os.kill(os.getpid(), 9)\n"
    )
    tests = {"PYTHONPATH": str(Path(__file__).parents[1])}
    with Program([sys.executable, "-c", code], tmp_path / "out", tests) as starter:
        assert until(lambda: not starter.running, 60)
        pid = int(starter.output())
        assert until(lambda: not os.path.exists(f"/proc/{pid}"), 60)
