"""How a run goes: one line that refreshes on a terminal, plain lines every few seconds elsewhere."""

import shutil
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, Self, TextIO

from ...schemas.model.ledger import TopicPartition
from ...schemas.plurals import counted
from ..job.formatting import duration, for_terminal

Offsets = Mapping[TopicPartition, int]

LIVE_SECONDS: Final = 0.2
PLAIN_SECONDS: Final = 5.0
RATE_SECONDS: Final = 10.0


class Progress:
    """What a run tells; a context manager that prints to `out` (stderr), and nothing where `quiet`.

    `stamp`: lines bear time (UTC) and level where `out` is no terminal.
    Not shared between threads. Printing never raises: where `out` is closed, it goes silent.
    """

    def __init__(
        self,
        out: TextIO | None = None,
        quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
        stamp: bool = False,
    ) -> None:
        self._stamp = stamp
        self._out = sys.stderr if out is None else out
        self._clock = clock
        self._quiet = quiet
        self._live = self._out.isatty()
        self._started = clock()
        self._printed = self._started
        self._first: dict[TopicPartition, int] = {}
        self._next: dict[TopicPartition, int] = {}
        self._end: dict[TopicPartition, int] = {}
        self._points: deque[tuple[float, int]] = deque([(self._started, 0)])
        self._copied: deque[tuple[float, int]] = deque()
        self._shown = ""

    def update(
        self, read_offsets: Offsets, end_offsets: Offsets, dead: int = 0, behind: Mapping[str, float] | None = None
    ) -> None:
        """The next offset of each partition and its end; call it as often as you like.

        A partition counts from the offset that it first appears with. `behind`: the age in seconds of what is read now,
        by topic. Where lines are plain, each topic has one of its own if there are several.
        """
        self._first = {**read_offsets, **self._first}
        self._next.update(read_offsets)
        self._end.update(end_offsets)
        read = sum(offset - self._first[source] for source, offset in self._next.items())
        lag = sum(max(0, self._end.get(source, offset) - offset) for source, offset in self._next.items())
        now = self._clock()
        self._points.append((now, read))
        while len(self._points) > 2 and self._points[1][0] < now - RATE_SECONDS:
            self._points.popleft()
        if self._due(now):
            ages = behind or {}
            self._show(self._line(now, lag, dead) + _age(ages.values()))
            if not self._live:
                self._topics(end_offsets, ages)

    def copying(self, rows: int, total: int, tables: int) -> None:
        """How many rows of the tables that are copied there are, and about how many will be (0: not known)."""
        now = self._clock()
        if self._copied and rows < self._copied[-1][1]:
            self._copied.clear()
        self._copied.append((now, rows))
        while len(self._copied) > 2 and self._copied[1][0] < now - RATE_SECONDS:
            self._copied.popleft()
        if not self._due(now):
            return
        (before, had), (_, read) = self._copied[0], self._copied[-1]
        rate = (read - had) / (now - before) if now > before else 0.0
        said = f"{rows:,} of about {total:,} rows" if total > rows else f"{rows:,} rows"
        rest = f", {duration((total - rows) / rate)} left" if total > rows and rate >= 1 else ""
        self._show(f"{duration(now - self._started)}: copying {counted(tables, 'table')}: {said}, {rate:,.0f}/s{rest}")

    def log(self, ended: int, tables: int, dead: int) -> None:
        """How many tables have all that the log had when the run began."""
        letters = f", {counted(dead, 'dead letter')}" if dead else ""
        self.step(f"{ended:,} of {counted(tables, 'table')} at the log's end{letters}")

    def step(self, text: str) -> None:
        """How far a work is that reads no partitions; call it as often as you like."""
        now = self._clock()
        if self._due(now):
            self._show(f"{duration(now - self._started)}: {text}")

    def note(self, text: str) -> None:
        """A line that stays, above the one that refreshes."""
        shown = self._shown
        self.close()
        for line in for_terminal(text.splitlines(), self._out) if self._live else text.splitlines():
            self._write(self._stamped(line) + "\n")
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

    def _due(self, now: float) -> bool:
        if now - self._printed < (LIVE_SECONDS if self._live else PLAIN_SECONDS):
            return False
        self._printed = now
        return True

    def _line(self, now: float, lag: int, dead: int) -> str:
        (before, had), (_, read) = self._points[0], self._points[-1]
        rate = (read - had) / (now - before) if now > before else 0.0
        rest = f", {duration(lag / rate)} left" if lag and rate >= 1 else ""
        letters = f", {counted(dead, 'dead letter')}" if dead else ""
        return f"{duration(now - self._started)}: {read:,} read, {rate:,.0f}/s, lag {lag:,}{rest}{letters}"

    def _topics(self, end_offsets: Offsets, ages: Mapping[str, float]) -> None:
        topics = sorted({source.topic for source in self._next})
        for topic in topics if len(topics) > 1 else ():
            mine = {source: offset for source, offset in self._next.items() if source.topic == topic}
            end = sum(end_offsets.get(source, offset) for source, offset in mine.items())
            read = sum(mine.values()) - sum(self._first[source] for source in mine)
            age = _age([ages[topic]] if topic in ages else [])
            self._show(f"  {topic}: {read:,} read, at {sum(mine.values()):,} of {end:,}{age}")

    def _show(self, line: str) -> None:
        if not self._live:
            self._write(self._stamped(line) + "\n")
            return
        self._shown = line
        self._write(f"\r\x1b[K{line[: shutil.get_terminal_size().columns - 1]}")

    def _stamped(self, line: str) -> str:
        return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} INFO {line}" if self._stamp and not self._live else line

    def _write(self, text: str) -> None:
        if self._quiet:
            return
        try:
            self._out.write(text)
            self._out.flush()
        except RuntimeError:
            # A signal came while a line was being written: what its handler says is left out.
            return
        except (OSError, ValueError):
            self._quiet = True


def _age(ages: Iterable[float]) -> str:
    oldest = max(ages, default=None)
    return "" if oldest is None else f", read {duration(oldest)} behind"
