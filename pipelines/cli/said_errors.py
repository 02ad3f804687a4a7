"""What a person reads of an error: one sentence, with the line of the job file where it has one."""

import os
import sys
import traceback
from argparse import Namespace
from pathlib import Path
from types import TracebackType

from ...schemas.errors import JobError
from ..job.formatting import for_terminal


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


def report_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What no code of ours expects."""
    traceback.print_exception(kind, error, trace)
    print("this is a bug in Millrace: please report it with the lines above", file=sys.stderr)
