"""`millrace demo`: the whole story in a minute, on a broker that lives in memory, in a folder that stays."""

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ...schemas.errors import JobError
from ...transforms.sources.kafka.embedded_broker import EmbeddedBroker
from ..execution.progress import Progress
from ..execution.run_passes import run
from ..job.formatting import duration
from ..job.load import load_job
from ..job.model import Job
from ..job.schema import FILE, schema_text
from ..workload.change_stream import Stream, Workload
from ..workload.produce import create_topic, send, settings_of, write_schemas
from .dead_letters import letter_lines, letters
from .verify import report_lines, verify_job

TOPIC: Final = "shop.public.orders"
MARK: Final = "# Written by `millrace demo`"
JOB: Final = (
    MARK
    + f""", which may overwrite this folder.
# yaml-language-server: $schema={FILE}
"""
    + """\
job: demo
source:
  type: kafka
  bootstrap_servers: {servers}    # the demo's own broker, gone when it ends
  topics: [shop.public.orders]
format:
  type: debezium
  schemas: contracts
target:
  type: duckdb
  path: warehouse.duckdb
dead_letters: {{path: dead_letters}}
max_dead_letters: 1%
"""
)
QUERY: Final = "SELECT status, count(*) AS orders, sum(amount) AS amount FROM orders GROUP BY status ORDER BY status"
ASK: Final = "import sys, duckdb; print(duckdb.connect(sys.argv[1], read_only=True).sql(sys.argv[2]))"


def demo(folder: Path, changes: int) -> bool:
    """Play the story and print it; whether the proof found every row equal.

    Raises JobError where `folder` holds something that is not a demo's, MissingExtraError without the extra `demo`.
    """
    started = time.monotonic()
    _clear(folder)
    with EmbeddedBroker() as broker:
        file = folder / "job.yaml"
        (folder / FILE).write_text(schema_text(), encoding="utf-8")
        file.write_text(JOB.format(servers=broker.bootstrap_servers), encoding="utf-8")
        workload = Workload(changes=changes, keys=max(1, changes // 5), poison=0.0002)
        encoder = write_schemas(folder / "contracts", TOPIC, workload.format)
        story = _Story(load_job(file), Stream(workload, encoder))
        create_topic(settings_of(story.job), TOPIC, workload.partitions)
        story.say(f"A Kafka broker at {broker.bootstrap_servers}, in memory, and a job file for it: {file}")
        story.produce("Changes to a table of orders, as Debezium sends them", changes)
        story.run("into a table, in one commit a pass")
        story.produce("More changes", changes // 2)
        story.run("goes on where the target's ledger stands")
        story.query()
        story.letters()
        proved = story.verify()
    story.say(f"That took {duration(time.monotonic() - started)}. The broker is gone, the folder {folder}/ stays.")
    _print((f"next: {command}" for command in _next(folder)), indent="")
    return proved


@dataclass(frozen=True, slots=True)
class _Story:
    job: Job
    stream: Stream

    def say(self, text: str) -> None:
        print(f"\n{_bold(text)}", flush=True)

    def command(self, *words: str) -> None:
        print(f"\n{_bold('$ ' + shlex.join(words))}", flush=True)

    def produce(self, what: str, changes: int) -> None:
        """Send changes and say what was sent."""
        self.say(what)
        _print(send(settings_of(self.job), TOPIC, self.stream, changes).lines())

    def run(self, what: str) -> None:
        """`run --once`, with its summary."""
        print(f"\n{_bold(f'$ millrace run {self.job.file} --once')}    # {what}", flush=True)
        with Progress() as progress:
            summary = run(self.job, once=True, progress=progress)
        _print(line for line in summary.lines() if not line.startswith("next:"))

    def query(self) -> None:
        """One SELECT on the table, by DuckDB itself."""
        path = str(self.job.target.options.model_dump()["path"])
        self.say(QUERY)
        done = subprocess.run([sys.executable, "-c", ASK, path, QUERY], capture_output=True, text=True, check=True)
        _print(done.stdout.rstrip().splitlines())
        _print([f"the made-up source holds {len(self.stream.rows):,} orders"])

    def letters(self) -> None:
        """The first dead letters."""
        self.command("millrace", "dead-letters", "ls", str(self.job.file), "--limit", "1")
        _print(letter_lines(letters(str(self.job.file)), limit=1))

    def verify(self) -> bool:
        """The proof."""
        self.command("millrace", "verify", str(self.job.file))
        _print(["another reader decodes every message again, one by one, and compares row by row ..."])
        reports = list(verify_job(self.job))
        _print(report_lines(reports, self.job))
        return all(report.ok for report in reports)


def _next(folder: Path) -> list[str]:
    place = shlex.quote(str(folder))
    select = f"duckdb.connect('{folder}/warehouse.duckdb').sql('FROM orders LIMIT 10')"
    millrace = _program("millrace")
    return [
        f"cat {place}/job.yaml",
        f"{millrace} dead-letters ls {place}/job.yaml",
        f'{_program("python")} -c "import duckdb; print({select})"',
        f"{millrace} --help",
    ]


def _program(name: str) -> str:
    """What to type here for a program of this environment."""
    file = Path(sys.executable).parent / name
    found = shutil.which(name)
    return name if found and Path(found).samefile(file) else shlex.quote(os.path.relpath(file))


def _clear(folder: Path) -> None:
    """An empty folder in place of an older demo's."""
    if folder.exists():
        file = folder / "job.yaml"
        if not folder.is_dir() or (
            any(folder.iterdir()) and not (file.is_file() and file.read_text().startswith(MARK))
        ):
            raise JobError(f"{folder} holds something that is not a demo's; name another: millrace demo --folder NAME")
        shutil.rmtree(folder)
    folder.mkdir(parents=True)


def _print(lines: Iterable[str], indent: str = "  ") -> None:
    for line in lines:
        print(f"{indent}{line}".rstrip(), flush=True)


def _bold(text: str) -> str:
    return f"\x1b[1m{text}\x1b[0m" if sys.stdout.isatty() else text
