"""How a run goes: one line that refreshes on a terminal, plain lines every few seconds elsewhere."""

import shutil
import sys
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self, TextIO

from .summary import Summary, duration

PLAIN_SECONDS: Final = 5.0
RATE_SECONDS: Final = 10.0


class Progress:
    """What a run tells; a context manager that prints to `out` (stderr), and nothing where `quiet`.

    Not shared between threads. Printing never raises: where `out` is closed, it goes silent.
    """

    def __init__(
        self, out: TextIO | None = None, quiet: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._out = sys.stderr if out is None else out
        self._clock = clock
        self._quiet = quiet
        self._live = self._out.isatty()
        self._started = clock()
        self._printed = self._started
        self._points: deque[tuple[float, int]] = deque([(self._started, 0)])
        self._shown = ""

    def begin(self, left: int) -> None:
        """So many offsets lie ahead, up to the end offsets of this moment."""
        if left and self._live:
            self._show(f"{duration(self._clock() - self._started)}: {left:,} offsets to read")

    def advance(self, summary: Summary, left: int) -> None:
        """The run so far, after a commit, and the offsets that are left."""
        now = self._clock()
        self._points.append((now, summary.total.read))
        while len(self._points) > 2 and self._points[1][0] < now - RATE_SECONDS:
            self._points.popleft()
        if self._live or now - self._printed >= PLAIN_SECONDS:
            self._printed = now
            self._show(self._line(summary, left, now))

    def say(self, text: str) -> None:
        """A line that stays, above the one that refreshes."""
        shown = self._shown
        self.close()
        self._write(text + "\n")
        if shown:
            self._show(shown)

    def close(self) -> None:
        """Take the refreshing line away; may be called twice."""
        if self._shown:
            self._shown = ""
            self._write("\r\x1b[K")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _line(self, summary: Summary, left: int, now: float) -> str:
        (before, had), (_, read) = self._points[0], self._points[-1]
        rate = (read - had) / (now - before) if now > before else 0.0
        rest = f", {duration(left / rate)} left" if left and rate >= 1 else ""
        letters = f", {summary.total.dead:,} dead letters" if summary.total.dead else ""
        return f"{duration(now - self._started)}: {read:,} read, {rate:,.0f}/s, lag {left:,}{rest}{letters}"

    def _show(self, line: str) -> None:
        if not self._live:
            self._write(line + "\n")
            return
        self._shown = line
        self._write(f"\r\x1b[K{line[: shutil.get_terminal_size().columns - 1]}")

    def _write(self, text: str) -> None:
        if self._quiet:
            return
        try:
            self._out.write(text)
            self._out.flush()
        except (OSError, ValueError):
            self._quiet = True
