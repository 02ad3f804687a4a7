"""The SQLite file of a catalog: where it is, and whether this user may write it."""

import os
import re
from typing import Final

from .....schemas.errors import TerminalSinkError

URI: Final = re.compile(r"sqlite(?:\+\w+)?:///(?!:memory:)(?:file:)?([^?]+)")
READ_ONLY: Final = re.compile(r"[?&](mode=ro|immutable=1)\b")


def database(uri: str) -> str | None:
    """The file that SQLAlchemy's URI names; None for another database and for one in memory."""
    found = URI.match(uri)
    return found[1] if found else None


def check_rights(uri: str) -> None:
    """Raises TerminalSinkError where a commit could not be written: SQLite needs the folder too, for its journal."""
    path = database(uri)
    if path is None or not os.path.exists(path):
        return
    if READ_ONLY.search(uri):
        raise TerminalSinkError(
            f"{path}: the catalog is opened to be read only; leave `mode` and `immutable` out of target.catalog.uri"
        )
    for place in (os.path.dirname(os.path.abspath(path)), path):
        if not os.access(place, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
            raise TerminalSinkError(
                f"{place}: permission denied to write, and the catalog is kept there; let this user write the file and "
                "its folder, or correct target.catalog.uri"
            )
