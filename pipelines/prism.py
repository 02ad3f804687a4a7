"""Where the Prism binary is: said, in the environment, or installed by Go."""

import os
import shutil
from pathlib import Path
from typing import Final

from ..schemas.errors import JobError

VARIABLE: Final = "MILLRACE_PRISM"
INSTALL: Final = "go install github.com/apache/beam/sdks/v2/go/cmd/prism@v2.77.0"


def find_prism(given: str | None) -> str:
    """The path of Prism: `given` (`--prism_location`), else MILLRACE_PRISM, else `prism` on PATH or in Go's bin folder.

    Raises JobError: nothing is downloaded, and no other runner takes its place.
    """
    for path, said in ((given, "--prism_location"), (os.environ.get(VARIABLE), VARIABLE)):
        if path:
            if not os.access(path, os.X_OK) or Path(path).is_dir():
                raise JobError(f"{said}: {path} is no program; install Prism with: {INSTALL}")
            return path
    folders = [os.environ.get("GOBIN"), *(f"{part}/bin" for part in os.environ.get("GOPATH", "").split(":") if part)]
    places = [os.environ.get("PATH", ""), *(folder for folder in folders if folder), str(Path.home() / "go" / "bin")]
    found = shutil.which("prism", path=os.pathsep.join(places))
    if found is None:
        raise JobError(
            f"--runner PrismRunner: there is no prism on PATH; install it with: {INSTALL} (Go 1.26 or newer), "
            f"or name it with --prism_location or {VARIABLE}"
        )
    return found
