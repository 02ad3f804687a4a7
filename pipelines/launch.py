"""Start a stream and leave it to its runner: a Flink cluster, a jar for one, Dataflow.

As a program (`python -m millrace.pipelines.launch`) it is what a Flex Template's launcher runs.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from apache_beam.options.pipeline_options import PortableOptions

from ..schemas.errors import JobError, MillraceError
from .config import load_job
from .google_secrets import fetch
from .job import Job
from .render.parameters import PARAMETERS
from .runners import open_runner
from .stream import assemble, topics_of


def hand_over(job: Job, name: str, arguments: Sequence[str]) -> None:
    """Build the job's pipeline and give it to the runner, which keeps it; a jar is waited for.

    Asks the broker for topics only where the job has a pattern. Raises JobError, SourceError.
    """
    runner = open_runner(name, job, arguments)
    result = assemble(job, runner.options, topics_of(job)).run()
    if runner.options.view_as(PortableOptions).output_executable_path:
        result.wait_until_finish()


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
        hand_over(load_job(file), "DataflowRunner", options)
    except MillraceError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, JobError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
