"""Flink as a runner."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from apache_beam.options.pipeline_options import FlinkRunnerOptions, PipelineOptions, PortableOptions
from apache_beam.runners.runner import PipelineResult

from ....schemas.errors import RunnerError
from ...job.model import Job
from ..findings import WARN, Finding
from ..runner import RunnerSpec, cancel
from .checks import LOOPBACK
from .options import RUNNER, findings, flink_options, rest_of
from .rest import FlinkRest
from .submission import submit


@dataclass(frozen=True)
class FlinkRunner:
    """A Flink cluster, or Flink inside the job server of this process.

    `known` are the ids of jobs of the same name that were there before this one.
    """

    job: str
    options: PipelineOptions
    arguments: Sequence[str]
    known: frozenset[str] = frozenset()
    name: str = "Flink"

    @property
    def here(self) -> bool:
        return bool(self.options.view_as(PortableOptions).environment_type == LOOPBACK)

    @property
    def by_timer(self) -> bool:
        return not self.here

    def submit(self, start: Callable[[], PipelineResult]) -> None:
        submit(self.options, self.arguments, start)

    def end(self, result: Any) -> str:
        """Stop the Flink job with a savepoint; where there can be none, cancel it."""
        flink = FlinkRest(self.options.view_as(FlinkRunnerOptions).flink_master)
        mine = [found for found in flink.jobs(self.job) if found.live and found.id not in self.known]
        if not mine:
            return cancel(result)
        # Of several the first: others of this name were started while this one ran.
        found = mine[-1]
        try:
            place = flink.stop_with_savepoint(found.id)
        except RunnerError as error:
            return f"{error}; {cancel(result)}"
        return f"stopped with a savepoint: {place} (go on from it with --savepoint_path, or without it from the ledger)"


def _open(job: Job, arguments: Sequence[str]) -> FlinkRunner:
    known: frozenset[str] = frozenset()
    cluster = rest_of(arguments)
    if cluster is not None:
        with suppress(RunnerError):
            known = frozenset(found.id for found in cluster.jobs(job.job))
    return FlinkRunner(job.job, PipelineOptions(flink_options(job.job, arguments)), arguments, known)


def _findings(job: Job, arguments: Sequence[str]) -> list[Finding]:
    found = findings(arguments)
    if job.window.by == "event":
        text = "by event time: Beam's Flink runner remembers each read (apache/beam#27648), some 60 KB of heap"
        found.append(Finding(WARN, "window.by", text, "take windows by arrival, or start the job anew now and then"))
    return found


SPEC: Final = RunnerSpec(name=RUNNER, open=_open, findings=_findings)
