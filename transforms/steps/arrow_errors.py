"""Errors of Arrow, and panics of libraries written in Rust, as the stop of the one table that they are about."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pyarrow as pa

from ...schemas.errors import TableError

PANIC: Final = "PanicException"
"""How PyO3 names a panic. The class is no Exception, and has no module to import it from."""


@contextmanager
def told_of(table: str, place: str) -> Iterator[None]:
    """Raise TableError in place of Arrow's errors and of panics: nothing of the commit is applied, other tables go on.

    `place` says what was done, and with what: `decoding orders[0] from offset 7 to 19`.
    """
    try:
        yield
    except pa.ArrowException as error:
        raise TableError(_sentence(table, place, "Arrow refuses a value", error)) from error
    except BaseException as error:
        if type(error).__name__ != PANIC:
            raise
        raise TableError(_sentence(table, place, "a library of the target failed inside", error)) from error


def _sentence(table: str, place: str, what: str, error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return (
        f"table {table}: {place}: {what} ({type(error).__name__}: {lines[0]}); nothing of this commit is in the table: "
        "correct the value at the source and begin again behind it, or leave the table out of the job"
    )
