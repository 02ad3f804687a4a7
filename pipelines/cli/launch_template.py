"""`python -m millrace.pipelines.cli.launch_template`: what the launcher of a Flex Template runs."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ...schemas.errors import JobError, MillraceError
from ..execution.submit import submit
from ..job.load import load_job
from ..runners.dataflow.secrets import fetch
from ..runners.dataflow.template_parameters import PARAMETERS


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
    """The launcher's program: 0 when Dataflow has the job. Does not wait for it: the launcher goes by that."""
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
