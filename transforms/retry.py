"""What can pass is tried again: after a pause, and again with longer ones, until a limit of time."""

import itertools
import logging
import math
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeVar

from ..schemas.errors import TransientSinkError

LOGGER: Final = logging.getLogger("millrace")
STOPPING: Final = threading.Event()
"""Set in a process that was told to end: pauses end, and what waits raises the error that it waits for to pass."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses in seconds: `first`, then twice as long each time up to `longest`, each shortened by up to a half.

    They are shortened by chance, so that many workers do not come back at the same moment. `limit` is the sum of the
    pauses after which one gives up; the tries themselves count only where it is `by_clock`.
    """

    first: float
    longest: float
    limit: float = math.inf
    by_clock: bool = False

    def pause(self, tries: int) -> float:
        """How long to wait after so many tries."""
        return random.uniform(0.5, 1.0) * min(self.first * 2.0 ** min(tries - 1, 64), self.longest)

    def pauses(self) -> Iterator[float]:
        """One after each try that failed, as long as the limit allows."""
        began, spent = time.monotonic(), 0.0
        for tries in itertools.count(1):
            pause = self.pause(tries)
            spent += pause
            if (time.monotonic() - began + pause if self.by_clock else spent) > self.limit:
                return
            yield pause


BRIEF: Final = Backoff(0.2, 5.0, 9.0)
"""For one write of a pass or bundle, which is taken up again as a whole later."""
PATIENT: Final = Backoff(1.0, 30.0, 600.0)
"""For a bundle of a stream: then the runner takes it up again."""
BETWEEN: Final = Backoff(0.2, 1.0, 60.0, by_clock=True)
"""For a command that needs a target which a run has open: between two commits it is free."""
ENDLESS: Final = Backoff(1.0, 30.0)
"""For a run that goes on until it is stopped."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How something is tried again; `stop` or `STOPPING` ends a pause, and then the last error is raised.

    Errors of the kinds `passing` are tried again, but for those of which `lasts` says that they stay. `say` hears of
    each try that failed; without it, that is a warning.
    """

    backoff: Backoff
    passing: tuple[type[Exception], ...] = (TransientSinkError,)
    lasts: Callable[[Exception], bool] | None = None
    stop: threading.Event | None = None
    say: Callable[[str], None] | None = None

    def wait(self, pause: float) -> bool:
        """Wait; whether to try again."""
        return not (self.stop or STOPPING).wait(pause)


def retried(what: str, attempt: Callable[[], _T], retry: Retry | None = None) -> _T:
    """What the attempt gives; `what` begins the sentence about a try that failed, unless it is empty.

    Without `retry`, what TransientSinkError says is tried again for some seconds. Raises what the last try raised.
    """
    retry = retry or Retry(BRIEF)
    for pause in retry.backoff.pauses():
        try:
            return attempt()
        except retry.passing as error:
            if retry.lasts is not None and retry.lasts(error):
                raise
            said = f"{what}: {error}" if what else str(error)
            (retry.say or LOGGER.warning)(f"{said}; trying again in {pause:.1f} s")
            if not retry.wait(pause):
                raise
    return attempt()
