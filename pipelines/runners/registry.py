"""The runners that stream, by the name on the command line."""

from collections.abc import Mapping, Sequence
from typing import Final

from ...schemas.errors import JobError
from ..job.model import Job
from . import prism
from .dataflow import runner as dataflow
from .findings import FAIL, Finding
from .flink import runner as flink
from .runner import Runner, RunnerSpec

__all__ = ["RUNNERS", "Runner", "open_runner", "runner_findings"]

LEAVE_OUT: Final = "leave --runner out"
RUNNERS: Final[Mapping[str, RunnerSpec]] = {spec.name: spec for spec in (prism.SPEC, flink.SPEC, dataflow.SPEC)}


def open_runner(name: str, job: Job, arguments: Sequence[str]) -> Runner:
    """Check the options of Beam as typed and add what is missing. Raises JobError."""
    if name not in RUNNERS:
        raise JobError(f"--runner {name}: known are {', '.join(RUNNERS)}")
    if job.source.typed:
        raise JobError(f"--runner {name}: {_only_direct(job)}; {LEAVE_OUT}")
    return RUNNERS[name].open(job, arguments)


def runner_findings(name: str, job: Job, arguments: Sequence[str]) -> list[Finding]:
    """What a preflight says of a runner and its options, and of the job on it."""
    if job.source.typed:
        return [Finding(FAIL, "runner", f"{name}: {_only_direct(job)}", LEAVE_OUT)]
    return list(RUNNERS[name].findings(job, arguments))


def _only_direct(job: Job) -> str:
    return f"a source of type {job.source.type} is read by DirectRunner only"
