"""A run that is told to end: the first signal ends its waits, the second one the process."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from ...transforms.retry import STOPPING
from .progress import Progress


@contextmanager
def stopping(progress: Progress, at_once: Callable[[], None] | None = None) -> Iterator[threading.Event]:
    """An event that the first SIGINT or SIGTERM sets, and tells: `STOPPING`, so waits end. The second ends the process.

    A run in another thread than the first gets an event that nobody sets. The second signal ends the process at once,
    in the middle of a commit too, after `at_once` was called: what that has not finished is as after a crash, and the
    next run goes on.
    """
    if threading.current_thread() is not threading.main_thread():
        yield threading.Event()
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    STOPPING.clear()

    def told(number: int, frame: FrameType | None) -> None:
        if STOPPING.is_set():
            if at_once is not None:
                at_once()
            os.write(2, b"error: stopped at once; the next run goes on\n")
            os._exit(128 + number)
        STOPPING.set()
        once_more = "Ctrl-C" if number == signal.SIGINT else "the signal"
        progress.note(f"stopping: what was read is committed first; {once_more} once more ends at once")

    for number in before:
        signal.signal(number, told)
    try:
        yield STOPPING
    finally:
        STOPPING.clear()
        for number, handler in before.items():
            signal.signal(number, handler)
