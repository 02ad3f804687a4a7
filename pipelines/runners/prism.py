"""Prism as a runner: where its binary is, whether it fits, and its options."""

import mmap
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineResult
from apache_beam.version import __version__ as BEAM

from ...schemas.errors import JobError
from ..job.model import Job
from .beam_options import read_options
from .findings import FAIL, OK, Finding
from .runner import RunnerSpec, cancel

RUNNER: Final = "PrismRunner"
LOOPBACK: Final = "LOOPBACK"

VARIABLE: Final = "MILLRACE_PRISM"
INSTALL: Final = f"go install github.com/apache/beam/sdks/v2/go/cmd/prism@v{BEAM}"
BUILT: Final = re.compile(rb"\tgithub\.com/apache/beam/sdks/v2\tv(\d+\.\d+\.\d+\S*)\t")
"""The main module's line in the build information that Go puts into a binary (runtime/debug.BuildInfo)."""


def find_prism(given: str | None) -> str:
    """The path of Prism: `given` (`--prism_location`), else MILLRACE_PRISM, else `prism` on PATH or in Go's bin folder.

    Raises JobError, also for a binary of another Beam, where it can be told: nothing is downloaded, and no other
    runner takes its place.
    """
    found = _said(given) or shutil.which("prism", path=os.pathsep.join(_folders()))
    if found is None:
        raise JobError(
            f"--runner PrismRunner: there is no prism on PATH; install it with: {INSTALL} (Go 1.26 or newer), "
            f"or name it with --prism_location or {VARIABLE}"
        )
    version = prism_version(found)
    if version is not None and version != BEAM:
        raise JobError(
            f"{found} is Prism {version}, and this Beam is {BEAM}; install the one that fits with: {INSTALL}"
        )
    return found


def prism_version(path: str) -> str | None:
    """The version that a binary built by `go install` says, or None: others do not say."""
    with open(path, "rb") as file:
        try:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as binary:
                found = BUILT.search(binary)
                return found[1].decode() if found else None
        except ValueError:  # an empty file
            return None


def _said(given: str | None) -> str | None:
    for path, said in ((given, "--prism_location"), (os.environ.get(VARIABLE), VARIABLE)):
        if path:
            if not os.access(path, os.X_OK) or Path(path).is_dir():
                raise JobError(f"{said}: {path} is no program; install Prism with: {INSTALL}")
            return path
    return None


def _folders() -> list[str]:
    """PATH, and where `go install` puts binaries."""
    gobin, gopath = os.environ.get("GOBIN", ""), os.environ.get("GOPATH", "")
    if shutil.which("go"):
        done = subprocess.run(["go", "env", "GOBIN", "GOPATH"], capture_output=True, text=True)
        said = [*(done.stdout if done.returncode == 0 else "").splitlines(), "", ""]
        gobin, gopath = gobin or said[0], gopath or said[1]
    under = [f"{folder}/bin" for folder in gopath.split(os.pathsep) if folder]
    return [os.environ.get("PATH", ""), *([gobin] if gobin else []), *under, str(Path.home() / "go" / "bin")]


@dataclass(frozen=True)
class PrismRunner:
    """Beam's portable runner on this machine."""

    options: PipelineOptions
    name: str = "Prism"
    here: bool = True
    by_timer: bool = False

    def submit(self, start: Callable[[], PipelineResult]) -> None:
        """Prism ends with this process: always JobError."""
        raise JobError(f"--detach: {RUNNER} works in this process")

    def end(self, result: Any) -> str:
        return cancel(result)


def _open(job: Job, arguments: Sequence[str]) -> PrismRunner:
    given = read_options(RUNNER, arguments, {})
    if given.unknown:
        raise JobError(f"--runner {RUNNER}: {'; '.join(given.unknown)}")
    location = find_prism(given.values.get("prism_location"))
    own = [f"--runner={RUNNER}", f"--prism_location={location}", f"--environment_type={LOOPBACK}", "--streaming"]
    # In this form Prism's log stays at the level of the program's own: its errors arrive as exceptions.
    return PrismRunner(PipelineOptions(["--prism_log_kind=text", *arguments, *own]))


def _findings(job: Job, arguments: Sequence[str]) -> list[Finding]:
    given = read_options(RUNNER, arguments, {})
    found = [Finding(FAIL, "options", complaint) for complaint in given.unknown]
    try:
        return [*found, Finding(OK, "prism", find_prism(given.values.get("prism_location")))]
    except JobError as error:
        return [*found, Finding(FAIL, "prism", str(error))]


SPEC: Final = RunnerSpec(name=RUNNER, open=_open, findings=_findings)
