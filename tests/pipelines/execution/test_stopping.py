"""The first signal ends what a run waits for, the second one the run, at once and without a traceback."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from support.jobs import event, key, send, write_job
from support.running_job import Running
from support.tls import listener

from millrace.transforms.retry import STOPPING, Backoff, Retry, retried

COMMIT = """
import sys, time
from millrace.pipelines.execution.progress import Progress
from millrace.pipelines.execution.stopping import stopping
with stopping(Progress()) as stop:
    print("ready", flush=True)
    stop.wait(20)
    print("told", flush=True)
    time.sleep(20)   # a commit that takes its time
"""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_second_signal_ends_the_process_at_once(number, status):
    environment = {"PYTHONPATH": str(Path(__file__).parents[3] / "src"), "PATH": "/usr/bin:/bin"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", COMMIT], env=environment, **pipes) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.stdout.readline() == "told\n"
        began = time.monotonic()
        process.send_signal(number)
        said = process.communicate(timeout=10)[1]
    assert process.returncode == status and time.monotonic() - began < 5
    assert "stopped at once; the next run goes on" in said and "Traceback" not in said


def test_pauses_end_with_the_last_error():
    def attempt():
        raise OSError("away")

    threading.Timer(0.1, STOPPING.set).start()
    began = time.monotonic()
    try:
        with pytest.raises(OSError, match="away"):
            retried("", attempt, Retry(Backoff(30.0, 60.0), (OSError,)))
    finally:
        STOPPING.clear()
    assert time.monotonic() - began < 5


def test_a_registry_that_is_away_does_not_keep_a_run(embedded_broker, topic_name, tmp_path):
    topic, servers = topic_name("kept"), embedded_broker.bootstrap_servers
    embedded_broker.create_topic(topic, 1)
    send(servers, topic, [(0, key(1), event("c", 1, "a", 1, 10))])
    with listener(lambda connection: connection.close()) as silent:
        file = write_job(tmp_path, servers, [topic])
        file.write_text(file.read_text().replace("schemas: ./contracts", f"registry: 'http://{silent}'"))
        with Running(file) as run:
            assert run.says("schema registry"), run.err
            began = time.monotonic()
            assert run.stop() == 0, run.err
            assert time.monotonic() - began < 10
    assert "Traceback" not in run.err
