"""Start a stream and leave it to its runner: a Flink cluster, a jar for one, Dataflow.

As a program (`python -m millrace.pipelines.execution.submit`) it is what a Flex Template's launcher runs.
"""

import argparse
import os
import sys
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

from apache_beam.options.pipeline_options import GoogleCloudOptions, PortableOptions
from apache_beam.runners.runner import PipelineResult, PipelineState

from ...schemas.errors import JobError, MillraceError, RunnerError
from ..job.load import load_job
from ..job.model import Job
from ..runners.dataflow.secrets import fetch
from ..runners.dataflow.template_parameters import PARAMETERS
from ..runners.errors import error_from_runner
from ..runners.flink.options import RUNNER as FLINK
from ..runners.flink.options import rest_of
from ..runners.flink.rest import POLL_SECONDS, FlinkRest
from ..runners.registry import open_runner
from .stream_pipeline import assemble, topics_of

TAKE_SECONDS: Final = 300.0
STARTING: Final = ("INITIALIZING", "CREATED")


def submit(job: Job, name: str, arguments: Sequence[str]) -> None:
    """Build the job's pipeline and give it to the runner, which keeps it; returns when it has it.

    Asks the broker for topics only where the job has a pattern. Raises JobError, SourceError, RunnerError, and
    MillraceError for what the runner says against the job.
    """
    runner = open_runner(name, job, arguments)
    packed = runner.options.view_as(PortableOptions).output_executable_path
    cluster = rest_of(arguments) if name == FLINK and not packed else None
    if name == FLINK and not packed and cluster is None:
        raise JobError("--detach: without a cluster Flink would end with this process; name one with --flink_master")
    named = runner.options.view_as(GoogleCloudOptions).job_name
    known = {held.id for held in cluster.jobs(named)} if cluster is not None else set()
    result = assemble(job, runner.options, topics_of(job)).run()
    if packed:
        result.wait_until_finish()
    elif cluster is not None:
        _await_job(cluster, named, known, result)


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


def template_options(words: Sequence[str]) -> tuple[Path, list[str]]:
    """The job file and Beam's options of the words that the launcher gives, parameters and its own together."""
    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
    for parameter in PARAMETERS:
        parser.add_argument(f"--{parameter.name}", default=parameter.default, required=parameter.default is None)
    # The launcher names the runner too.
    parser.add_argument("--runner")
    found, rest = parser.parse_known_args(list(words))
    own = [f"--{part.name}={getattr(found, part.name)}" for part in PARAMETERS if part.name != "job_file"]
    # The image holds all that workers need: nothing is installed in them, and the launcher's main module means nothing.
    return Path(found.job_file), [*own, "--sdk_location=container", "--no_save_main_session", *rest]


def main(words: Sequence[str]) -> int:
    """The launcher's program: 0 when the job is handed over. Does not wait for it: the launcher goes by that."""
    try:
        os.environ.update(fetch(os.environ))
        file, options = template_options(words)
        submit(load_job(file), "DataflowRunner", options)
    except MillraceError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, JobError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
