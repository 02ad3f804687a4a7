"""The runners that stream, each with the options that it needs here."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from apache_beam.options.pipeline_options import FlinkRunnerOptions, PipelineOptions, PortableOptions

from ...schemas.errors import JobError, RunnerError
from ..job.model import Job
from .beam_options import read_options
from .findings import FAIL, OK, WARN, Finding
from .flink.options import findings as flink_findings
from .flink.options import flink_options
from .flink.rest import FlinkRest
from .prism import find_prism

LOOPBACK: Final = "LOOPBACK"


@dataclass(frozen=True, slots=True)
class Runner:
    """A runner by name, with Beam's options for this job. `here`: the workers are threads of this process.

    `end` stops a job whose workers are elsewhere, losing nothing that a new start would not read again, and says how.
    """

    name: str
    options: PipelineOptions
    here: bool
    end: Callable[[Any], str] = lambda result: _cancelled(result)


def _cancelled(result: Any) -> str:
    result.cancel()
    return "cancelled; what was read and not committed is read again by the next start"


def open_runner(name: str, job: Job, arguments: Sequence[str]) -> Runner:
    """Check the options of Beam as typed and add what is missing. Raises JobError."""
    if name not in RUNNERS:
        raise JobError(f"--runner {name}: known are {', '.join(RUNNERS)}")
    return RUNNERS[name](job, arguments)


def runner_findings(name: str, job: Job, arguments: Sequence[str]) -> list[Finding]:
    """What a preflight says of a runner and its options, and of the job on it."""
    return [*_of_options(name, arguments), *_of_job(name, job)]


def _of_job(name: str, job: Job) -> Iterator[Finding]:
    if name == "DataflowRunner" and job.dead_letters.folder is not None:
        found = f"{job.dead_letters.path} is a folder of each worker, and ends with it"
        yield Finding(WARN, "dead letters", found, "set dead_letters.path to a gs://... URL")
    if name == "FlinkRunner" and job.window.by == "event":
        found = "by event time: Beam's Flink runner remembers each read (apache/beam#27648), some 60 KB of heap"
        yield Finding(WARN, "window.by", found, "take windows by arrival, or start the job anew now and then")


def _of_options(name: str, arguments: Sequence[str]) -> list[Finding]:
    if name == "FlinkRunner":
        return flink_findings(arguments)
    given = read_options(name, arguments, {})
    found = [Finding(FAIL, "options", complaint) for complaint in given.unknown]
    if name == "PrismRunner":
        try:
            found.append(Finding(OK, "prism", find_prism(given.values.get("prism_location"))))
        except JobError as error:
            found.append(Finding(FAIL, "prism", str(error)))
    return found


def _prism(job: Job, arguments: Sequence[str]) -> Runner:
    given = read_options("PrismRunner", arguments, {})
    if given.unknown:
        raise JobError(f"--runner PrismRunner: {'; '.join(given.unknown)}")
    location = find_prism(given.values.get("prism_location"))
    own = ["--runner=PrismRunner", f"--prism_location={location}", f"--environment_type={LOOPBACK}", "--streaming"]
    # In this form Prism's log stays at the level of the program's own: its errors arrive as exceptions.
    return Runner("Prism", PipelineOptions(["--prism_log_kind=text", *arguments, *own]), here=True)


def _flink(job: Job, arguments: Sequence[str]) -> Runner:
    options = PipelineOptions(flink_options(job.job, arguments))
    master = options.view_as(FlinkRunnerOptions).flink_master
    here = options.view_as(PortableOptions).environment_type == LOOPBACK
    return Runner("Flink", options, here, lambda result: _ended(FlinkRest(master), job.job, result))


def _ended(flink: FlinkRest, name: str, result: Any) -> str:
    """Stop the Flink job of this name with a savepoint; where there can be none, cancel it."""
    found = flink.job(name)
    if found is None or not found.live:
        return _cancelled(result)
    try:
        place = flink.stop_with_savepoint(found.id)
    except RunnerError as error:
        return f"{error}; {_cancelled(result)}"
    return f"stopped with a savepoint: {place} (go on from it with --savepoint_path, or without it from the ledger)"


def _dataflow(job: Job, arguments: Sequence[str]) -> Runner:
    own = ["--runner=DataflowRunner", "--streaming", f"--job_name={job.job}"]
    return Runner("Dataflow", PipelineOptions([*own, *arguments]), here=False)


RUNNERS: Final[Mapping[str, Callable[[Job, Sequence[str]], Runner]]] = {
    "PrismRunner": _prism,
    "FlinkRunner": _flink,
    "DataflowRunner": _dataflow,
}
