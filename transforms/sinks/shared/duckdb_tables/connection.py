"""A connection of DuckDB: its settings, its transactions, and what is said where it cannot be had."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from .....schemas.errors import TerminalSinkError
from .....schemas.options import size_text
from .catalog import Connection


def settings(memory_limit: int) -> dict[str, str | bool | int | float | list[str]]:
    """Of a connection that spills to disk beyond so many bytes."""
    return {"memory_limit": f"{memory_limit}B", "preserve_insertion_order": "false"}


@contextmanager
def committed(con: Connection, let_go: Callable[[], None]) -> Iterator[None]:
    """A transaction: leaving it commits; an error lets go of the connection, and so undoes it."""
    con.execute("BEGIN")
    with ExitStack() as undo:
        undo.callback(let_go)
        yield
        con.execute("COMMIT")
        undo.pop_all()


def check_folder(place: str, file: str, key: str) -> None:
    """Raise TerminalSinkError where the file's folder is not there; `key` is where the job file names the file."""
    if not os.path.isdir(os.path.dirname(file)):
        raise TerminalSinkError(f"{place}: its folder does not exist; make it, or correct target.{key}")


def out_of_memory(place: str, memory_limit: int, said: str) -> TerminalSinkError:
    """The error for a limit that a commit does not get by with."""
    return TerminalSinkError(f"{place}: raise memory_limit, {size_text(memory_limit)} is too small ({said})")
