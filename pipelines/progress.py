"""How a run goes: one line that refreshes on a terminal, plain lines every few seconds elsewhere."""

import shutil
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Final, Self, TextIO

from ..schemas.ledger import TopicPartition
from .summary import Summary, TableSummary, duration

__all__ = ["Progress", "Summary", "TableSummary"]

Offsets = Mapping[TopicPartition, int]

TERMINAL_SECONDS: Final = 0.2
PLAIN_SECONDS: Final = 5.0
RATE_SECONDS: Final = 10.0


class Progress:
    """A context manager that the run tells of its offsets; prints to `out` (stderr), nothing where `quiet`.

    Not shared between threads. Printing never raises: a closed stderr ends it.
    """

    def __init__(
        self, out: TextIO | None = None, quiet: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._out = sys.stderr if out is None else out
        self._clock = clock
        self._quiet = quiet
        self._live = not quiet and self._out.isatty()
        self._started = self._printed = clock()
        self._first: dict[TopicPartition, int] = {}
        self._points: deque[tuple[float, int]] = deque([(self._started, 0)])
        self._shown = ""

    def update(self, read_offsets: Offsets, end_offsets: Offsets, dead: int = 0) -> None:
        """The next offset of each partition and its end; the first call says where the run begins.

        Call it as often as you like. A partition that appears later counts from the offset it appears with.
        """
        for source, offset in read_offsets.items():
            self._first.setdefault(source, offset)
        read = sum(offset - self._first[source] for source, offset in read_offsets.items())
        lag = sum(max(0, end - read_offsets.get(source, end)) for source, end in end_offsets.items())
        now = self._clock()
        self._points.append((now, read))
        while len(self._points) > 2 and self._points[1][0] < now - RATE_SECONDS:
            self._points.popleft()
        if now - self._printed >= (TERMINAL_SECONDS if self._live else PLAIN_SECONDS):
            self._printed = now
            self._show(self._line(now, read, lag, dead))

    def note(self, text: str) -> None:
        """A line that stays, above the one that refreshes."""
        shown = self._shown
        self._clear()
        self._write(text + "\n")
        if shown:
            self._show(shown)

    def close(self) -> None:
        """Take the refreshing line away; may be called twice."""
        self._clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _line(self, now: float, read: int, lag: int, dead: int) -> str:
        before, had = self._points[0]
        rate = (read - had) / (now - before) if now > before else 0.0
        left = f", {duration(lag / rate)} left" if lag and rate > 0 else ""
        letters = f", {dead:,} dead letters" if dead else ""
        return f"{duration(now - self._started)}: {read:,} offsets read, {rate:,.0f}/s, lag {lag:,}{left}{letters}"

    def _show(self, line: str) -> None:
        if not self._live:
            self._write(line + "\n")
            return
        width = shutil.get_terminal_size().columns
        self._shown = line
        self._write(f"\r\x1b[K{line[: width - 1]}")

    def _clear(self) -> None:
        if self._shown:
            self._shown = ""
            self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        if self._quiet:
            return
        try:
            self._out.write(text)
            self._out.flush()
        except (OSError, ValueError):
            self._quiet = True
