"""Dataflow as a runner."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineResult

from ...job.model import Job
from ..beam_options import read_options
from ..findings import FAIL, WARN, Finding
from ..runner import RunnerSpec, cancel

RUNNER: Final = "DataflowRunner"


@dataclass(frozen=True)
class DataflowRunner:
    """Google Cloud Dataflow."""

    options: PipelineOptions
    name: str = "Dataflow"
    here: bool = False
    by_timer: bool = False

    def submit(self, start: Callable[[], PipelineResult]) -> None:
        start()

    def end(self, result: Any) -> str:
        return cancel(result)


def _open(job: Job, arguments: Sequence[str]) -> DataflowRunner:
    own = [f"--runner={RUNNER}", "--streaming", f"--job_name={job.job}"]
    return DataflowRunner(PipelineOptions([*own, *arguments]))


def _findings(job: Job, arguments: Sequence[str]) -> list[Finding]:
    found = [Finding(FAIL, "options", complaint) for complaint in read_options(RUNNER, arguments, {}).unknown]
    if job.dead_letters.folder is not None:
        text = f"{job.dead_letters.path} is a folder of each worker, and ends with it"
        found.append(Finding(WARN, "dead letters", text, "set dead_letters.path to a gs://... URL"))
    return found


SPEC: Final = RunnerSpec(name=RUNNER, open=_open, findings=_findings)
