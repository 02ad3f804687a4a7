"""kill -9 at each I/O step of `run --once`; a second run then gives the oracle's table, whatever the step was."""

import os
import shutil
import signal
import sys
import threading
import time
import traceback
from pathlib import Path

import pytest
from jobs import event, key, rows, run_once, send, write_job

STEPS = frozenset(
    {"begin", "commit", "execute", "executemany", "fsync", "mkdir", "remove", "rename", "replace", "rmdir", "unlink"}
    | {"write_batch", "write_table", "open", "merge", "write_deltalake", "register", "unregister", "close"}
)
TARGETS = {"duckdb": "{type: duckdb, path: out.duckdb}", "delta": "{type: delta, path: lake}"}


class Steps:
    """Counts calls of C functions that do I/O below our code, and kills the process before call number `fatal`."""

    def __init__(self, fatal: int | None) -> None:
        self.count, self._fatal, self._lock = 0, fatal, threading.Lock()

    def __call__(self, frame, event, function):
        if event != "c_call" or getattr(function, "__name__", "") not in STEPS:
            return
        if "/millrace/" not in frame.f_code.co_filename and "/main/" not in frame.f_code.co_filename:
            return
        with self._lock:
            self.count += 1
            if self.count == self._fatal:
                os.kill(os.getpid(), signal.SIGKILL)


def in_child(file: Path, fatal: int | None = None, after: float | None = None) -> tuple[int, int]:
    """Run the job once in a forked process: (signal that ended it or 0, number of steps)."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            steps = Steps(fatal)
            if after is not None:
                threading.Timer(after, os.kill, (os.getpid(), signal.SIGKILL)).start()
            threading.setprofile(steps)
            sys.setprofile(steps)
            summary = run_once(file)
            sys.setprofile(None)
            os.write(writing, str(steps.count).encode())
            code = int(summary.failed)
        finally:
            traceback.print_exc()
            os._exit(code)
    os.close(writing)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return (os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0), int(said or 0)


def changes():
    """Two stretches of changes of 12 keys over two partitions, and the rows after each."""
    first = [(i % 12 % 2, key(i % 12), event("u", i % 12, f"a{i}", i, 100 + i)) for i in range(40)]
    second = [
        (i % 12 % 2, key(i % 12), event("d" if i % 5 == 0 else "u", i % 12, f"b{i}", i, 200 + i)) for i in range(20)
    ]
    bad = [(0, key(1), b"bad"), (1, key(2), b"")]
    held = {i % 12: (i % 12, f"a{i}", i) for i in range(40)}
    for i in range(20):
        held.pop(i % 12, None) if i % 5 == 0 else held.__setitem__(i % 12, (i % 12, f"b{i}", i))
    return first, second + bad, sorted(held.values(), key=repr)


def table(folder, target, name):
    if target == "duckdb":
        return rows(folder, name)
    deltalake = pytest.importorskip("deltalake")
    found = deltalake.DeltaTable(str(folder / "lake" / name)).to_pyarrow_table().select(["id", "name", "count"])
    return sorted((tuple(row.values()) for row in found.to_pylist()), key=repr)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("target", TARGETS)
def test_kill_at_each_step_then_run_again(target, embedded_broker, topic_name, tmp_path):
    topic = topic_name("crash")
    embedded_broker.create_topic(topic, 2)
    first, second, expected = changes()
    servers = embedded_broker.bootstrap_servers
    send(servers, topic, first)
    done = tmp_path / "before"
    done.mkdir()
    in_child(write_job(done, servers, [topic], target=TARGETS[target]))
    send(servers, topic, second)
    counted = clone(done, tmp_path / "count")
    _, steps = in_child(counted / "job.yaml")
    assert steps > 5
    assert table(counted, target, topic) == expected
    for fatal in range(1, steps + 1):
        folder = clone(done, tmp_path / f"kill{fatal}")
        ended, _ = in_child(folder / "job.yaml", fatal)
        assert ended in (signal.SIGKILL, 0)
        in_child(folder / "job.yaml")
        assert table(folder, target, topic) == expected, f"killed before step {fatal} of {steps}"


@pytest.mark.timeout(300)
def test_kill_at_any_time_then_run_again(embedded_broker, topic_name, tmp_path):
    topic = topic_name("crash")
    embedded_broker.create_topic(topic, 2)
    first, second, expected = changes()
    send(embedded_broker.bootstrap_servers, topic, [*first, *second])
    write_job(tmp_path, embedded_broker.bootstrap_servers, [topic])
    started = time.monotonic()
    in_child(clone(tmp_path, tmp_path / "whole") / "job.yaml")
    whole = time.monotonic() - started
    for part in range(1, 16):
        folder = clone(tmp_path, tmp_path / f"t{part}")
        in_child(folder / "job.yaml", after=whole * part / 16)
        in_child(folder / "job.yaml")
        assert rows(folder, topic) == expected, f"killed after {part}/16 of a run"


def clone(source: Path, to: Path) -> Path:
    """A copy of a job's folder: the job file, the contracts, and what earlier runs left."""
    to.mkdir()
    for name in ("job.yaml", "contracts", "out.duckdb", "out.duckdb.wal", "lake", "dead_letters"):
        if (source / name).is_dir():
            shutil.copytree(source / name, to / name)
        elif (source / name).exists():
            shutil.copy(source / name, to / name)
    return to
