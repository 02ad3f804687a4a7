"""A question to the person who typed a command that changes a target."""

import sys
from collections.abc import Sequence

from ...schemas.errors import JobError


def asked(command: str, lines: Sequence[str], question: str) -> bool:
    """Show what the command would do, and ask. Raises JobError where nobody can be asked."""
    if not sys.stdin.isatty():
        raise JobError(f"{command}: nobody can be asked here: --plan says what it would do, --yes does it")
    print("\n".join(lines), file=sys.stderr)
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
