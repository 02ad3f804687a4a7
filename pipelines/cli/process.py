"""The process of the command `millrace`: how it begins and how it ends."""

import atexit
import logging
import os
import sys
from contextlib import suppress

from .main import FAILED, GOOD, main


def command() -> None:
    """Run the command of `sys.argv`; the process ends with its status, and the interpreter is not taken apart.

    Threads of Arrow and of other libraries let go of Python's objects while it is taken apart. Before Python 3.14 such
    a thread is ended in the middle of its C++, and the process of a good run aborts (python/cpython issue 87135).
    """
    status = FAILED
    _open_streams()

    def leave() -> None:
        logging.shutdown()
        for stream in (sys.stdout, sys.stderr):
            # What cannot be written was said when it was printed, or nobody reads.
            with suppress(OSError):
                stream.flush()
        os._exit(status)

    # What is registered first is called last: clients are closed and other processes have ended by then.
    atexit.register(leave)
    try:
        status = main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else FAILED if end.code else GOOD
        raise


def _open_streams() -> None:
    """Streams for a process that was started without: `>&-`, or by a service that closes them."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 (open as long as the process)
