"""kill -9 at each step of `run --once`; a second run then gives the oracle's table, whatever the step was."""

import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest
from support import postgres_server
from support.jobs import SCHEMAS, event, key, run_once, send, write_job

ICEBERG = "{type: sql, uri: 'sqlite:///lake/catalog.db', warehouse: ./lake}"
TARGETS = {
    "duckdb": "{type: duckdb, path: out.duckdb}",
    "delta": "{type: delta, path: lake}",
    "iceberg": f"{{type: iceberg, namespace: shop, catalog: {ICEBERG}}}",
}

# Of the targets that are not in it, every second step is taken.
FEWEST = {("duckdb", "steps"): 20, ("delta", "steps"): 20}


def changes():
    """Two stretches of changes of 12 keys over two partitions, with dead letters, and the rows in the end."""
    first = [(i % 12 % 2, key(i % 12), event("u", i % 12, f"a{i}", i, 100 + i)) for i in range(40)]
    held = {i % 12: [i % 12, f"a{i}", i] for i in range(40)}
    second = [(0, key(1), b"bad"), (1, key(2), b"")]
    for i in range(20):
        gone = i % 5 == 0
        second.append((i % 12 % 2, key(i % 12), event("d" if gone else "u", i % 12, f"b{i}", i, 200 + i)))
        held[i % 12] = [i % 12, f"b{i}", i]
        if gone:
            del held[i % 12]
    return first, second, sorted(held.values(), key=lambda row: repr(tuple(row)))


def kills(folder, target, topic, how):
    """What the driver says of each kill."""
    driver = Path(__file__).with_name("crash_driver.py")
    command = [sys.executable, "-W", "ignore", str(driver), str(folder), target, topic, how]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.timeout(1500)
@pytest.mark.parametrize(
    ("target", "how"),
    [
        *((target, how) for target in ("duckdb", "delta") for how in ("steps", "times")),
        *((target, "steps") for target in ("postgres", "iceberg")),
    ],
)
def test_kill_then_run_again_gives_the_oracles_table(target, how, embedded_broker, topic_name, tmp_path):
    topic = topic_name("crash")
    embedded_broker.create_topic(topic, 2)
    first, second, expected = changes()
    servers = embedded_broker.bootstrap_servers
    send(servers, topic, first)
    place = postgres_server.make_database(tmp_path, topic) if target == "postgres" else TARGETS[target]
    write_job(tmp_path, servers, [topic], target=place)
    once = [sys.executable, "-m", "millrace.pipelines", "run", str(tmp_path / "job.yaml"), "--once"]
    subprocess.run(once, check=True, capture_output=True, timeout=120)
    send(servers, topic, second)
    found = kills(tmp_path, target, topic, how)
    assert sum(kill["killed"] is not None for kill in found) > FEWEST.get((target, how), 10 if how == "steps" else 5)
    for kill in found:
        assert kill["rows"] == expected, f"after a kill at {kill['killed']}"


@pytest.mark.timeout(600)
def test_a_replay_of_dead_letters_that_is_killed_anywhere_loses_and_doubles_none(embedded_broker, topic_name, tmp_path):
    topic = topic_name("crash")
    embedded_broker.create_topic(topic, 2)
    send(embedded_broker.bootstrap_servers, topic, dead_letters())
    file = write_job(tmp_path, embedded_broker.bootstrap_servers, [topic], more="max_dead_letters: 100%\n")
    assert run_once(file).total("dead") == 24
    (tmp_path / "contracts" / "schema.3.avsc").write_text(json.dumps(SCHEMAS[2]))
    found = kills(tmp_path, "duckdb", topic, "replay")
    assert sum(kill["killed"] is not None for kill in found) > 5
    for kill in found:
        assert sorted(kill["rows"]) == [[i, f"a{i}", i] for i in range(12)], f"after a kill at {kill['killed']}"


def dead_letters():
    """Two versions of twelve rows, of a schema that nobody knows yet."""
    for version, i in itertools.product((1, 2), range(12)):
        value = event("u", i, f"a{i}" if version == 2 else "older", i, at=100 * version + i)
        yield i % 2, key(i), value[:1] + (3).to_bytes(4, "big") + value[5:]
