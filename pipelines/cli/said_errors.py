"""What a person reads of an error: one sentence, with the line of the job file where it has one."""

import errno
import os
import sys
import traceback
from argparse import Namespace
from pathlib import Path
from types import TracebackType
from typing import Final

from ...schemas.errors import JobError
from ..job.formatting import for_terminal

UNWRITABLE: Final = (errno.ENOSPC, errno.EIO, errno.EBADF, errno.EDQUOT)
"""Of an output that takes nothing more."""


def placed_in(found: Namespace | None, error: JobError) -> str:
    """With the line of the job file, where a job is named and the error begins with one of its keys."""
    from ..job.load import placed

    file = getattr(found, "job", None) or getattr(found, "path", None)
    return placed(Path(file), error) if file and str(file).endswith((".yaml", ".yml")) else str(error)


def say_error(text: str, status: int) -> int:
    """Print it to stderr; the exit status."""
    label = "\x1b[31merror:\x1b[0m" if sys.stderr.isatty() and "NO_COLOR" not in os.environ else "error:"
    # The label's colours take no room.
    first, *rest = for_terminal(f"error: {text}".splitlines(), sys.stderr)
    print("\n".join([f"{label}{first.removeprefix('error:')}", *rest]), file=sys.stderr)
    return status


def say_no_more() -> None:
    """What is still to be printed goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def report_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What no code of ours expects."""
    traceback.print_exception(kind, error, trace)
    print("this is a bug in Millrace: please report it with the lines above", file=sys.stderr)
