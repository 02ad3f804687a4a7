"""What Millrace keeps of its tables and finds damaged: one sentence that names the place and the way out."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from ....schemas.errors import TableError

OF_ALL: Final = (
    "what Millrace keeps of all its tables was changed by hand: put it back from a backup, or remove the tables of "
    "Millrace and run again"
)
OF_ONE: Final = (
    "what Millrace keeps of the table was changed by hand: build the table again, millrace resync JOB --table TABLE"
)
TOMBSTONES: Final = "_millrace_tombstones_"
"""What begins the names of the tables of tombstones."""
WHOLE: Final = "put it back from a backup, or remove the table from the target and run again"
_OF_ONE: Final = re.compile(r"_millrace_tombstones|_millrace_position|_millrace_deleted_at|\bg\.")
_OURS: Final = re.compile(r"_millrace_(?!staged|in\b|keys\b|growing)")


def way_out(table: str) -> str:
    """What a person does about a table of which something is damaged, its tombstones among it."""
    table = table.removeprefix(TOMBSTONES)
    return f"put it back from a backup, or build the table again: millrace resync JOB --table {table}"


def dropped(table: str) -> TableError:
    """The error for a table that is not there, though its ledger says what was written into it."""
    name = table.removeprefix(TOMBSTONES)
    return TableError(
        f"table {name}: the table {name!r} was dropped, but its ledger stands; build it again: "
        f"millrace resync JOB --table {name}"
    )


@contextmanager
def intact(table: str, place: str, whole: bool = False) -> Iterator[None]:
    """Raise TableError in place of what reading a damaged thing raises; `place` is a file, a row or a property.

    `whole`: without it the target cannot open the table at all; tombstones are no such thing.
    """
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError, EOFError) as error:
        said = (str(error).strip().splitlines() or [""])[0]
        out = WHOLE if whole and not table.startswith(TOMBSTONES) else way_out(table)
        raise TableError(f"table {table}: {place} is damaged ({type(error).__name__}: {said}); {out}") from error


def by_hand(said: str) -> str | None:
    """What to do where a database misses a table or a column of ours; None where it is another error."""
    if _OF_ONE.search(said):
        return OF_ONE
    return OF_ALL if _OURS.search(said) else None
