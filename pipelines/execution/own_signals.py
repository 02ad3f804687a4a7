"""Ctrl-C and SIGTERM are the run's to hear, not the programs' and handlers that Beam brings along.

Beam's job servers put a handler for SIGINT in place of the run's, which ends the server at once; and a terminal sends
Ctrl-C to every process of its group, so that Prism or a job server would end before the run has committed.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

from apache_beam.runners.portability.job_server import StopOnExitJobServer
from apache_beam.utils import subprocess_server

_STARTED: Final[list[subprocess.Popen[bytes]]] = []


class _SessionsOfTheirOwn:
    """The module `subprocess`, but a program has a session of its own, which no terminal sends a signal to."""

    def __getattr__(self, name: str) -> Any:
        return getattr(subprocess, name)

    def Popen(self, *arguments: Any, **options: Any) -> "subprocess.Popen[bytes]":
        started = subprocess.Popen(*arguments, **{**options, "start_new_session": True})
        _STARTED.append(started)
        return started


def _leave_to_run(server: Any, number: int, frame: FrameType | None) -> None:
    """In place of Beam's handler: what was there before it."""
    if callable(server._original_sigint_handler):
        server._original_sigint_handler(number, frame)


@contextmanager
def own_signals() -> Iterator[None]:
    """Within, what Beam starts and installs leaves signals to the run."""
    changes = (
        (subprocess_server, "subprocess", _SessionsOfTheirOwn()),
        (StopOnExitJobServer, "_sigint_handler", _leave_to_run),
    )
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in changes]
    for owner, name, value in changes:
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)


def kill_started() -> None:
    """End the programs that were started within `own_signals`, at once."""
    for started in _STARTED:
        if started.poll() is None:
            started.kill()
