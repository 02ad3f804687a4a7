"""Start a stream and leave it to its runner: a Flink cluster, a jar for one, Dataflow."""

from collections.abc import Sequence

from ..job.model import Job
from ..runners.registry import open_runner
from .stream_pipeline import assemble, topics_of


def submit(job: Job, name: str, arguments: Sequence[str]) -> None:
    """Build the job's pipeline and give it to the runner, which keeps it; returns when it has it.

    Asks the broker for topics only where the job has a pattern. Raises JobError, SourceError, RunnerError, and
    MillraceError for what the runner says against the job.
    """
    runner = open_runner(name, job, arguments)
    runner.submit(lambda: assemble(job, runner.options, topics_of(job), by_timer=runner.by_timer).run())
