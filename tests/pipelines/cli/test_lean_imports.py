"""What a command imports: what it does not need costs more than a small run does."""

import json
import subprocess
import sys

from support.jobs import event, key, rows, send, write_job

SCRIPT = """import json, sys
sys.argv = ["millrace", *sys.argv[1:]]
from millrace.pipelines.cli.main import main
status = main()
print(json.dumps([status, sorted(name for name in sys.modules if "." not in name)]))
"""


def imported(*words):
    """The exit status of the command in a process of its own, and the packages that it imported."""
    done = subprocess.run([sys.executable, "-c", SCRIPT, *map(str, words)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    status, names = json.loads(done.stdout.splitlines()[-1])
    return status, set(names)


def test_only_a_run_that_moves_something_imports_beam_and_compiled_loops(embedded_broker, topic_name, tmp_path):
    topic = topic_name("shop.orders")
    embedded_broker.create_topic(topic, 1)
    file = write_job(tmp_path, embedded_broker.bootstrap_servers, [topic])
    costly = {"apache_beam", "numba", "pandas"}
    status, names = imported("run", file, "--once")
    assert (status, names & costly) == (0, set())
    send(embedded_broker.bootstrap_servers, topic, [(0, key(1), event("c", 1, "a", 1))])
    status, names = imported("run", file, "--once")
    assert (status, names & {*costly, "pymongo", "boto3"}) == (0, {"apache_beam", "numba"})
    assert rows(tmp_path, topic.rpartition(".")[2]) == [(1, "a", 1)]
    status, names = imported("status", file)
    assert (status, names & costly) == (0, set())
