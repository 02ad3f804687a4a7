"""Programs that Go builds for tests, once, into .cache: kubeconform, Prism, the boot program of Beam's containers."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

CACHE = Path(__file__).parents[2] / ".cache"
KUBECONFORM = ("kubeconform", "github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0")
PRISM = ("prism", "github.com/apache/beam/sdks/v2/go/cmd/prism@v2.77.0")
BOOT = ("container", "github.com/apache/beam/sdks/v2/python/container@v2.77.0")


def missing(program: tuple[str, str]) -> str | None:
    """Why there is none here, or None."""
    if shutil.which("go") is None and not _place(program).exists():
        return f"{program[0]} is built by Go: go is not installed"
    return None


def built(program: tuple[str, str]) -> Path:
    """The path of the program; of several processes one builds it."""
    place = _place(program)
    place.parent.mkdir(parents=True, exist_ok=True)
    with (place.parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            with tempfile.TemporaryDirectory(dir=place.parent) as new:
                environment = {**os.environ, "GOBIN": new, "GOFLAGS": "-mod=mod"}
                done = subprocess.run(["go", "install", program[1]], capture_output=True, text=True, env=environment)
                if done.returncode:
                    raise RuntimeError(f"Go could not build {program[1]}:\n{done.stderr[-2000:]}")
                (Path(new) / program[0]).rename(place)
    return place


def _place(program: tuple[str, str]) -> Path:
    return CACHE / f"{program[0]}-{program[1].rpartition('@v')[2]}" / program[0]
