"""Programs that tests start, kill and stop in their tracks, and that cannot outlive the test process."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

# The shell sees the end of its stdin when this process ends, however it ends, and kills the whole group.
TIED_TO_STDIN = 'exec 3>&1 1>>"$0" 2>&1; "$@" 3>&- & echo $! >&3; exec 3>&-; read -r _; kill -9 0'


class Program:
    """A running command with its output in `log`; a context manager. The command's children die with it on leaving."""

    def __init__(
        self, command: Sequence[str], log: Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> None:
        self.log = log
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", TIED_TO_STDIN, str(log), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=None if env is None else {**os.environ, **env},
            cwd=cwd,
            start_new_session=True,
        )
        self.pid = int(self._shell.stdout.readline())
        self._shell.stdout.close()

    @property
    def running(self) -> bool:
        """Whether the command itself runs; one that has ended is a zombie below its shell, or gone."""
        try:
            state = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return False
        return state not in "ZX"

    def children(self) -> list[int]:
        """The processes that the command started and that run."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[1]) == self.pid and fields[0] not in "ZX":
                found.append(int(stat.parent.name))
        return found

    def kill(self) -> None:
        """kill -9 of the command and of all that it started."""
        os.killpg(self._shell.pid, signal.SIGKILL)
        self._shell.wait()
        self._shell.stdin.close()
        if not until(lambda: not self.running, 30):
            raise RuntimeError(f"process {self.pid} does not end")

    def pause(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def terminate(self, seconds: float = 15) -> None:
        """SIGTERM, and SIGKILL where that does not end it."""
        os.kill(self.pid, signal.SIGTERM)
        until(lambda: not self.running, seconds)
        self.close()

    def close(self) -> None:
        if self._shell.poll() is None:
            self.kill()

    def output(self, characters: int = 3000) -> str:
        """The end of what it wrote, for failure messages."""
        return self.log.read_text(errors="replace")[-characters:]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def until(check: Callable[[], object], seconds: float = 60, pause: float = 0.1) -> bool:
    """Whether `check` came true in that time."""
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return True
