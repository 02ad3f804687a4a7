"""The tables of this process by the name of their sink: all sinks of one name share them."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa

from ....schemas.errors import TerminalSinkError
from ....schemas.model.table import Table
from ..shared.ledger import JobLedger


def _empty() -> pa.Table:
    return pa.table({})


@dataclass(frozen=True, slots=True)
class MemoryTable:
    """A table after a commit. The next commit makes another one, so whoever reads this one is not disturbed.

    `rows` has the stream's columns, of the types of `merge.held_columns`, and `_millrace_position`. `tombstones` has
    the key's columns, `_millrace_position` and `_millrace_deleted_at`. Both have no columns while `table` is None.
    """

    table: Table | None = None
    rows: pa.Table = field(default_factory=_empty)
    tombstones: pa.Table = field(default_factory=_empty)
    truncate: bytes | None = None
    ledgers: Mapping[str, JobLedger] = field(default_factory=dict)

    def job_ledger(self, job: str) -> JobLedger:
        """What the job has in the table's ledger."""
        return self.ledgers.get(job, JobLedger())


@dataclass(frozen=True, slots=True)
class MemoryTables:
    """Tables by name, and staged files by URI. Who commits holds `lock`; who reads needs none."""

    tables: dict[str, MemoryTable] = field(default_factory=dict)
    staged: dict[str, pa.Buffer] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def names(self) -> tuple[str, ...]:
        """Names of the tables that have columns, sorted."""
        return tuple(sorted(name for name, held in list(self.tables.items()) if held.table is not None))


_NAMES: Final[dict[str, MemoryTables]] = {}


def make_tables(name: str) -> MemoryTables:
    """The tables of this name; none yet where the name is new."""
    return _NAMES.setdefault(name, MemoryTables())


def tables_of(name: str) -> MemoryTables:
    """The tables of a name that is there. Raises TerminalSinkError."""
    if name not in _NAMES:
        raise TerminalSinkError(
            f"memory {name!r} does not exist in this process: make millrace.MemorySink({name!r}) before the job runs, "
            "or correct target.name"
        )
    return _NAMES[name]
