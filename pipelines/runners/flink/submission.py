"""Give a job to a Flink cluster, or write it into a jar, and wait until it is taken."""

import time
from collections.abc import Callable, Collection, Sequence
from typing import Final

from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, PortableOptions
from apache_beam.runners.runner import PipelineResult, PipelineState

from ....schemas.errors import JobError, MillraceError, RunnerError
from ..errors import error_from_runner
from .options import rest_of
from .rest import POLL_SECONDS, FlinkRest

TAKE_SECONDS: Final = 300.0
STARTING: Final = ("INITIALIZING", "CREATED")


def submit(options: PipelineOptions, arguments: Sequence[str], start: Callable[[], PipelineResult]) -> None:
    """Start the pipeline, and return when the cluster runs it or the jar is written. Raises JobError, RunnerError."""
    if options.view_as(PortableOptions).output_executable_path:
        start().wait_until_finish()
        return
    cluster = rest_of(arguments)
    if cluster is None:
        raise JobError("--detach: without a cluster Flink would end with this process; name one with --flink_master")
    name = options.view_as(GoogleCloudOptions).job_name
    known = {held.id for held in cluster.jobs(name)}
    _await_job(cluster, name, known, start())


def _await_job(cluster: FlinkRest, name: str, known: Collection[str], result: PipelineResult) -> None:
    """Until the cluster runs the job: a job server answers before that, and ends with this process."""
    deadline = time.monotonic() + TAKE_SECONDS
    while True:
        taken = next((job for job in cluster.jobs(name) if job.id not in known), None)
        if taken is not None and taken.state == "FAILED":
            raise error_from_runner(
                "Flink", RuntimeError(next(iter(cluster.exceptions(taken.id)), "it failed at once"))
            )
        if taken is not None and taken.state not in STARTING:
            return
        if taken is None and result.state == PipelineState.FAILED:
            raise _refusal(result)
        if time.monotonic() > deadline:
            raise RunnerError(f"Flink does not run job {name} within {TAKE_SECONDS:.0f} s; its own log tells why")
        time.sleep(POLL_SECONDS)


def _refusal(result: PipelineResult) -> MillraceError:
    try:
        result.wait_until_finish(duration=1000)
    except RuntimeError as error:
        return error_from_runner("Flink", error)
    return RunnerError("Flink refused the job without saying why; its own log tells")
