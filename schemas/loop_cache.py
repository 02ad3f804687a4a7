"""Where numba keeps compiled loops, for who may write neither beside the modules nor in a home of his own.

Numba decides when a module with loops is imported, and its import fails where it finds no place.
"""

import os
import stat
import tempfile
from pathlib import Path
from typing import Final

VARIABLE: Final = "NUMBA_CACHE_DIR"


def choose() -> None:
    """Set the variable of numba where it would find no place by itself. Before numba is imported."""
    if VARIABLE in os.environ:
        return
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    place = needed(Path(__file__).parent / "__pycache__", Path(home))
    if place is not None:
        os.environ[VARIABLE] = str(place)


def needed(beside: Path, home: Path) -> Path | None:
    """A folder for temporary files, of this user alone; None where one of numba's own places can be written."""
    if _can_write(beside) or _can_write(home):
        return None
    place = Path(tempfile.gettempdir()) / f"millrace-numba-{os.getuid()}"
    try:
        place.mkdir(mode=0o700)
    except FileExistsError:
        found = place.lstat()
        # What is read from there is run: a folder that another user has put there is not taken.
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            return Path(tempfile.mkdtemp(prefix="millrace-numba-"))
    return place


def _can_write(folder: Path) -> bool:
    """Whether the folder can be written, or made."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
