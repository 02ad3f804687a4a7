"""The contract of a runner that streams: its options, how a job is given to it, and how it ends there."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineResult

from ..job.model import Job
from .findings import Finding


class Runner(Protocol):
    """Where the stream of one job runs. Its options are checked when it is made."""

    @property
    def name(self) -> str:
        """What messages call it."""

    @property
    def options(self) -> PipelineOptions:
        """Beam's options as typed, with what Millrace adds for this job."""

    @property
    def here(self) -> bool:
        """Whether the workers are threads of this process."""

    @property
    def by_timer(self) -> bool:
        """Whether a source is read by timers instead of by Beam's own reader, where windows are by arrival."""

    def submit(self, start: Callable[[], PipelineResult]) -> None:
        """Call `start`, and return when the runner keeps the job without this process.

        Raises JobError where it never would, RunnerError, and MillraceError for what it says against the job.
        """

    def end(self, result: Any) -> str:
        """Stop a job whose workers are elsewhere, losing nothing that a new start would not read again; says how."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerSpec:
    """A runner by its name on the command line.

    `open` checks the options of Beam as typed and adds what is missing; it raises JobError for one that would lose
    data or stall, with the fix. `findings` is what a preflight says of the options, and of the job on this runner.
    """

    name: str
    open: Callable[[Job, Sequence[str]], Runner]
    findings: Callable[[Job, Sequence[str]], Sequence[Finding]]


def cancel(result: Any) -> str:
    """End a job at once: what was not committed is read again."""
    result.cancel()
    return "cancelled; what was read and not committed is read again by the next start"
