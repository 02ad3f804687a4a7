"""What a command imports: what it does not need costs more than a small run does."""

import json
import subprocess
import sys

import pytest
from support.jobs import event, key, rows, send, write_job

SCRIPT = """import json, os, sys
sys.argv = ["millrace", *sys.argv[1:]]
from millrace.pipelines.cli.main import main
status = main()
threads = len(os.listdir("/proc/self/task"))
print(json.dumps([status, sorted(sys.modules), threads]))
"""
COSTLY = {"apache_beam", "numba", "pandas", "requests"}
CONNECTORS = {"apache_beam.io.gcp.bigquery", "boto3", "cffi", "google.cloud", "pandas", "pymongo", "requests"}
"""What Beam and Numba import where they are not held back."""
MOST_OF_A_RUN = 2_100
"""Modules of a run that moves something: 1,820, and 2,770 where nothing is held back."""


def imported(*words):
    """The exit status of the command in a process of its own, the modules that it imported, and its threads."""
    done = subprocess.run([sys.executable, "-c", SCRIPT, *map(str, words)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    status, names, threads = json.loads(done.stdout.splitlines()[-1])
    return status, set(names), threads


def test_only_a_run_that_moves_something_imports_beam_and_compiled_loops(embedded_broker, topic_name, tmp_path):
    topic = topic_name("shop.orders")
    embedded_broker.create_topic(topic, 1)
    file = write_job(tmp_path, embedded_broker.bootstrap_servers, [topic])
    status, names, _ = imported("run", file, "--once")
    assert (status, names & COSTLY) == (0, set())
    send(embedded_broker.bootstrap_servers, topic, [(0, key(1), event("c", 1, "a", 1))])
    status, names, _ = imported("run", file, "--once")
    assert (status, names & CONNECTORS, COSTLY - names) == (0, set(), {"pandas", "requests"})
    assert len(names) < MOST_OF_A_RUN
    assert rows(tmp_path, topic.rpartition(".")[2]) == [(1, "a", 1)]
    status, names, _ = imported("status", file)
    assert (status, names & COSTLY) == (0, set())


@pytest.mark.parametrize("words", [("dead-letters", "ls"), ("render", "dataflow")], ids=" ".join)
def test_what_asks_no_server_imports_none_of_their_clients(tmp_path, words):
    target = "{type: postgres, dsn: 'postgresql://shop@127.0.0.1:1/shop'}"
    letters = "gs://a/b" if words[0] == "render" else "letters"
    more = f"dead_letters: {{path: '{letters}'}}\n"
    file = write_job(tmp_path, "127.0.0.1:1", ["shop.orders"], target=target, more=more)
    status, names, threads = imported(*words, file, *(("-o", tmp_path / "out") if words[0] == "render" else ()))
    clients = {"duckdb", "psycopg", "sqlalchemy", *(() if words[0] == "render" else ("kafka",))}
    assert (status, names & {*COSTLY, *clients}) == (0, set())
    assert threads <= 2, "NumPy started some"
