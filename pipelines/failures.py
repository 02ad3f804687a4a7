"""What a runner says of a job that failed, as the error that one of its workers raised."""

import re
from typing import Final

from ..schemas import errors
from ..schemas.errors import MillraceError

RAISED: Final = re.compile(
    r"millrace\.schemas\.errors\.(?P<kind>\w+): (?P<text>.*?)(?: \[while running '[^']*'\])?$", re.M
)


def told(runner: str, error: Exception) -> MillraceError:
    """The last error of Millrace's own in a runner's report, of its own class; else the report's last line."""
    raised = list(RAISED.finditer(str(error)))
    kind = getattr(errors, raised[-1]["kind"], None) if raised else None
    if isinstance(kind, type) and issubclass(kind, MillraceError):
        found = MillraceError.__new__(kind)
        found.args = (raised[-1]["text"],)
        return found
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return MillraceError(f"{runner} ended the job: {lines[-1].strip() if lines else type(error).__name__}")
