"""A DuckDB file: one connection, its transactions, and what a person can do about its errors."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import duckdb

from ....schemas.errors import TerminalSinkError, TransientSinkError
from ..shared.commit import TableChanges
from ..shared.damage import by_hand
from ..shared.duckdb_tables import catalog
from ..shared.duckdb_tables.catalog import Connection
from ..shared.duckdb_tables.connection import check_folder, committed, out_of_memory, settings
from ..shared.transient_errors import sink_error

OPENING: Final = threading.Lock()
"""Connections of a process share one DuckDB: one that is made while another opens it lacks Python's functions."""


class DuckDBFile:
    """The file `place`, opened at the first use. Beyond `memory_limit` bytes DuckDB spills into `<place>.tmp`."""

    attempts: Final = 1

    def __init__(self, place: str, memory_limit: int) -> None:
        self.place, self._memory_limit = place, memory_limit
        self._open: Any = None

    def check(self) -> None:
        """Whether its folder is there."""
        check_folder(self.place, self.place, "path")

    def close(self) -> None:
        """Close the file: another process can open it."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def _connect(self) -> Connection:
        if self._open is None:
            self.check()
            with OPENING:
                self._open = duckdb.connect(self.place, config=settings(self._memory_limit))
        return self._open

    @contextmanager
    def transaction(self, changes: TableChanges) -> Iterator[Connection]:
        """Of DuckDB; an error closes the file."""
        with self._errors():
            con = self._connect()
            with committed(con, self.close):
                yield con

    @contextmanager
    def reading(self) -> Iterator[Connection | None]:
        """None where there is no file, or nothing of Millrace in it."""
        with self._errors():
            con = self._connect() if os.path.exists(self.place) else None
            yield con if con is not None and catalog.own(con) else None

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """DuckDB's errors as Millrace's, with the file's name."""
        try:
            yield
        except duckdb.OutOfMemoryException as error:
            raise out_of_memory(self.place, self._memory_limit, _line(error)) from error
        except (duckdb.IOException, duckdb.ConnectionException, duckdb.FatalException) as error:
            raise sink_error(f"{self.place}: {_advice(str(error))} ({_line(error)})", error) from error
        except duckdb.TransactionException as error:
            if "conflict" in str(error).lower():
                raise TransientSinkError(f"{self.place}: another commit was faster ({_line(error)})") from error
            raise TerminalSinkError(f"{self.place}: {_advice(str(error))} ({_line(error)})") from error
        except duckdb.Error as error:
            advice = (
                by_hand(_line(error)) if isinstance(error, duckdb.CatalogException | duckdb.BinderException) else None
            )
            said = f"{advice} ({_line(error)})" if advice else _line(error)
            raise TerminalSinkError(f"{self.place}: {said}") from error


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


def _advice(message: str) -> str:
    """What a person can do about it."""
    words = message.lower()
    if "lock" in words:
        return "another process has the file open; DuckDB lets in one at a time: close it and run again"
    if "not a valid duckdb" in words or "magic" in words:
        return "this is not a DuckDB file; correct target.path"
    if "permission" in words or "read-only" in words or "cannot open" in words:
        return "the file cannot be opened or written; check its rights and those of its folder"
    if "space" in words or "could not write" in words or "truncate" in words:
        return "nothing was committed, the disk is full or the file cannot be written; make room and run again"
    return "DuckDB cannot read or write the file"
