"""What a runner says of a job that failed, as the error that one of its workers raised."""

import re
from typing import Final

from ...schemas import errors
from ...schemas.errors import MillraceError, RunnerError

RAISED: Final = re.compile(
    r"millrace\.schemas\.errors\.(?P<kind>\w+): (?P<text>.*?)(?: \[while running '[^']*'\])?$", re.M
)
FOREIGN: Final = "Cannot map checkpoint/savepoint state"


def error_from_runner(runner: str, error: Exception) -> MillraceError:
    """The last error of Millrace's own in a runner's report, of its own class; else the innermost cause.

    Flink names operators by how they are chained, and chains more of them where the parallelism is 1.
    """
    raised = list(RAISED.finditer(str(error)))
    kind = getattr(errors, raised[-1]["kind"], None) if raised else None
    if isinstance(kind, type) and issubclass(kind, MillraceError):
        found = MillraceError.__new__(kind)
        found.args = (raised[-1]["text"],)
        return found
    if FOREIGN in str(error):
        return RunnerError(
            f"{runner}: the savepoint does not fit the job: it is another job's, or one of --parallelism=1 and the "
            "other of more; start it without --savepoint_path, and it goes on from the target's ledger"
        )
    lines = [line for line in str(error).splitlines() if line.strip() and not line.startswith("\t")]
    why = lines[-1].strip().removeprefix("Caused by: ") if lines else type(error).__name__
    return MillraceError(f"{runner} ended the job: {why}")
