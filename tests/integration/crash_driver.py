"""Kills `run --once` in forked children and runs it again; a process of its own, so that forks start from no threads.

`crash_driver.py FOLDER TARGET TOPIC steps` kills before each I/O step: a line of the sinks, the dead letters or the
commit that calls something that opens, writes, commits or removes, as it is reached for the first time. `... times`
kills after sixteenths of a run. A Postgres target's database, which the file `postgres` in the folder names, is copied
for each kill; as that takes its time, only every second step is killed at, and of Iceberg's many every third.
`... replay` kills before every fourth step of `dead-letters replay`; the replay after it is cut elsewhere, and must
leave no letter counted as dead.

Prints one JSON line a kill: {"killed": where, "rows": the table after the second run}.
"""

import json
import linecache
import os
import re
import shutil
import signal
import sys
import threading
import time
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import duckdb
import psycopg
from pyiceberg.catalog import load_catalog
from support import postgres_server
from support.jobs import rows, run_once

from millrace.pipelines.cli.compile_kernels import registering_modules
from millrace.pipelines.execution import remembered_beam
from millrace.pipelines.execution.replay_letters import open_letters_of, replay_letters
from millrace.pipelines.job.load import load_job
from millrace.schemas.loops import LOOPS
from millrace.transforms.sinks.iceberg.catalog.names import catalog_name

STEP = re.compile(
    r"\b(execute|run|run_each|changed|copy_in|rename|fsync|unlink|mkdir|commit|merge|connect|close|full_accounts|put|taken|prune|truncate|_appear|_sync|_make_folders)\("
    r"|\b(write|open|delete|create|append|stage|save)\w*\("
)
STRIDES = {"postgres": 2, "iceberg": 3, "replay": 4}
WRITING = (
    *("/transforms/sinks/", "/transforms/stores/", "/transforms/dead_letters.py", "/transforms/steps/commit.py"),
    *("/transforms/dead_letter_marks.py", "/execution/replay_letters.py"),
)
KEPT = ("job.yaml", "contracts", "out.duckdb", "out.duckdb.wal", "out.duckdb.staging", "lake", "dead_letters")


class Lines:
    """A trace function that numbers the I/O steps of WRITING as they are first reached, and kills at number `fatal`."""

    def __init__(self, fatal: int | None) -> None:
        self.seen: dict[tuple[str, int], int] = {}
        self._fatal, self._lock = fatal, threading.Lock()
        self._writing: dict[str, bool] = {}

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Any:
        file = frame.f_code.co_filename
        writing = self._writing.get(file)
        if writing is None:
            writing = self._writing[file] = any(part in file for part in WRITING)
        return self.line if writing else None

    def line(self, frame: FrameType, event: str, argument: Any) -> Any:
        with self._lock:
            place = (frame.f_code.co_filename, frame.f_lineno)
            if place not in self.seen and STEP.search(linecache.getline(*place)):
                self.seen[place] = len(self.seen) + 1
                if len(self.seen) == self._fatal:
                    os.kill(os.getpid(), signal.SIGKILL)
        return self.line


def forked(work: Any) -> tuple[bool, Any]:
    """(killed, what `work` gave) of a child process; its stderr is ours."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.write(writing, json.dumps(work()).encode())
            code = 0
        finally:
            if code:
                sys.excepthook(*sys.exc_info())
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status)
    if not killed and os.WEXITSTATUS(status):
        raise SystemExit("a run failed")
    return killed, None if killed else json.loads(said)


def run(folder: Path, fatal: int | None = None, after: float | None = None, replay: bool = False) -> list[str]:
    lines = Lines(fatal)
    if after is not None:
        threading.Timer(after, os.kill, (os.getpid(), signal.SIGKILL)).start()
    else:
        threading.settrace(lines)
        sys.settrace(lines)
    if replay:
        replay_letters(load_job(folder / "job.yaml"))
        sys.settrace(None)
        return [f"{Path(file).name}:{line}" for file, line in lines.seen]
    summary = run_once(folder / "job.yaml")
    sys.settrace(None)
    if summary.failed:
        raise SystemExit("\n".join(summary.lines()))
    return [f"{Path(file).name}:{line}" for file, line in lines.seen]


def replay_in_two(folder: Path) -> None:
    """The replay after a kill, cut elsewhere; SystemExit where a letter still counts as dead."""
    job = load_job(folder / "job.yaml")
    replay_letters(job, lambda letter: letter.partition == 1)
    replay_letters(job)
    with duckdb.connect(str(folder / "out.duckdb"), read_only=True) as db:
        dead, wrong = db.execute(
            "SELECT sum(dead), sum(read - applied - superseded - filtered) FROM _millrace_ledger"
        ).fetchall()[0]
    if dead or wrong or list(open_letters_of(job)):
        raise SystemExit(f"{dead} letters count as dead, the sums differ by {wrong}")


def table(folder: Path, target: str, topic: str) -> list[Any]:
    if target == "duckdb":
        return rows(folder, topic)
    if target == "postgres":
        with psycopg.connect(json.loads((folder / "postgres").read_text())["dsn"]) as con:
            found = con.execute(f'SELECT id, name, count FROM public."{topic}"'.encode()).fetchall()
        return sorted(found, key=repr)
    if target == "iceberg":
        catalog = load_catalog("default", type="sql", uri=f"sqlite:///{folder / 'lake' / 'catalog.db'}")
        held = catalog.load_table(("shop", catalog_name(topic))).scan(selected_fields=("id", "name", "count"))
        return sorted((tuple(row.values()) for row in held.to_arrow().to_pylist()), key=repr)
    from deltalake import DeltaTable

    found = DeltaTable(str(folder / "lake" / topic)).to_pyarrow_table().select(["id", "name", "count"])
    return sorted((tuple(row.values()) for row in found.to_pylist()), key=repr)


def clone(source: Path, to: Path) -> Path:
    """A copy of what a job's folder holds."""
    to.mkdir()
    for name in KEPT:
        if (source / name).is_dir():
            shutil.copytree(source / name, to / name)
        elif (source / name).exists():
            shutil.copy(source / name, to / name)
    if (source / "postgres").exists():
        postgres_server.copy_database(source, to)
    return to


def preload(target: str) -> None:
    """Import and load what each child would by itself: a run takes a third of the time then."""
    remembered_beam.remember()
    for module in (*registering_modules(), f"millrace.transforms.sinks.{target}.sink"):
        import_module(module)
    for loop in LOOPS.values():
        loop.compile()


def import_what_runs_import(source: Path) -> None:
    """Import what a run imports while it runs; a run in this process would leave threads behind."""

    def imported() -> list[str]:
        run(clone(source, source / "imported"), after=600)
        return list(sys.modules)

    for module in forked(imported)[1]:
        if module.partition(".")[0] in ("apache_beam", "millrace"):
            import_module(module)


def main() -> None:
    source, target, topic, how = Path(sys.argv[1]), *sys.argv[2:]
    preload(target)
    import_what_runs_import(source)
    replay = how == "replay"
    _, lines = forked(lambda: run(clone(source, source / "traced"), replay=replay))
    started = time.monotonic()
    forked(lambda: run(clone(source, source / "whole"), after=600, replay=replay))
    whole = time.monotonic() - started
    kills: list[dict[str, Any]] = [{"after": whole * part / 16} for part in range(1, 16)]
    if how != "times":
        numbers = range(1, len(lines) + 1, STRIDES.get(how, STRIDES.get(target, 1)))
        kills = [{"fatal": number} for number in numbers]
    for number, kill in enumerate(kills):
        folder = clone(source, source / f"kill{number}")
        killed, _ = forked(lambda kill=kill, folder=folder: run(folder, **kill, replay=replay))
        again = replay_in_two if replay else lambda folder: run(folder, after=600)
        _, found = forked(lambda folder=folder, again=again: (again(folder), table(folder, target, topic))[1])
        where = lines[kill["fatal"] - 1] if how != "times" else f"{kill['after']:.2f} s"
        print(json.dumps({"killed": where if killed else None, "rows": found}), flush=True)
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
