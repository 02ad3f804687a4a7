"""Environments that tests make outside of the clone, by uv: it keeps what it fetched and links it in."""

import subprocess
import sys
from pathlib import Path


def uv(*words: object) -> None:
    """Run uv; fails with what it says."""
    done = subprocess.run([sys.executable, "-m", "uv", "--quiet", *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


def built(root: Path, into: Path) -> None:
    """An sdist of the clone, and the wheel that is built from it."""
    command = [sys.executable, "-m", "build", "--installer", "uv", "--outdir", str(into), str(root)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
