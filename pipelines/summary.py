"""What a run came to: counts by table, where the data is, and the command to type next."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ..schemas.ledger import Account

COUNTS: Final = ("read", "applied", "superseded", "filtered", "dead", "skipped")


@dataclass(slots=True, kw_only=True)
class TableSummary:
    """One table; `lag` in offsets, `where` is `Sink.describe`, `error` why it stopped, if it did.

    read = applied + superseded + filtered + dead + skipped. `unfilled` counts values that no row held.
    """

    table: str
    read: int = 0
    applied: int = 0
    superseded: int = 0
    filtered: int = 0
    dead: int = 0
    skipped: int = 0
    unfilled: int = 0
    lag: int = 0
    where: str = ""
    error: str | None = None

    def add(self, accounts: Iterable[Account]) -> None:
        """Count a commit's settled accounts in."""
        for account in accounts:
            for name in COUNTS:
                setattr(self, name, getattr(self, name) + getattr(account, name))


@dataclass(slots=True, kw_only=True)
class Summary:
    """A run; `file` is the job file as typed. `seconds` are of the clock, `cpu_seconds` of all threads."""

    job: str
    file: Path
    dead_letters: Path
    tables: dict[str, TableSummary] = field(default_factory=dict)
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    passes: int = 0

    def table(self, name: str) -> TableSummary:
        """The table's summary, begun where there is none yet."""
        return self.tables.setdefault(name, TableSummary(table=name))

    def total(self, name: str) -> int:
        """The sum of one count (or `unfilled`, `lag`) over all tables."""
        return sum(getattr(table, name) for table in self.tables.values())

    @property
    def failed(self) -> bool:
        """Whether a table stopped."""
        return any(table.error is not None for table in self.tables.values())

    @property
    def rate(self) -> float:
        """Changes read a second."""
        return self.total("read") / self.seconds if self.seconds > 0 else 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain data for `--json`."""
        names = (*COUNTS, "unfilled", "lag")
        return {
            "job": self.job,
            "ok": not self.failed,
            **{name: self.total(name) for name in names},
            "seconds": round(self.seconds, 3),
            "cpu_seconds": round(self.cpu_seconds, 3),
            "changes_per_second": round(self.rate),
            "passes": self.passes,
            "dead_letters": str(self.dead_letters),
            "tables": [
                {"table": table.table, **{name: getattr(table, name) for name in names}}
                | {"where": table.where, "error": table.error}
                for table in self.tables.values()
            ],
        }

    def lines(self) -> list[str]:
        """The summary for people, line by line."""
        shown = [table for table in self.tables.values() if table.error is None or table.read]
        lines = aligned(
            [
                ["table", *COUNTS, "lag"],
                *([table.table, *(f"{getattr(table, name):,}" for name in (*COUNTS, "lag"))] for table in shown),
            ]
        )
        took = f"in {duration(self.seconds)}"
        lines += ["", f"{self.total('read'):,} changes read {took}, {self.rate:,.0f} a second" + self._cpu()]
        lines += [f"  {table.table}: {table.where}" for table in shown if table.where]
        if self.total("dead"):
            lines.append(f"  dead letters: {self.dead_letters}")
        if self.total("unfilled"):
            lines.append(f"  {self.total('unfilled'):,} unavailable values were in no row and are NULL now")
        lines += [f"  stopped: {table.error}" for table in self.tables.values() if table.error is not None]
        return [*lines, f"next: {self._next()}"]

    def _cpu(self) -> str:
        return f" ({self.total('read') / self.cpu_seconds:,.0f} a CPU-second)" if self.cpu_seconds > 0 else ""

    def _next(self) -> str:
        file = shlex.quote(str(self.file))
        if self.failed:
            return f"millrace check {file}"
        letters = f" ; millrace dead-letters ls {file}" if self.total("dead") else ""
        return f"millrace verify {file}{letters}"


def aligned(rows: list[list[str]]) -> list[str]:
    """Rows of texts as lines with columns; the first column to the left, the others, as numbers, to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            text.ljust(width) if i == 0 else text.rjust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def duration(seconds: float) -> str:
    """0.4 s, 12 s, 3 min 05 s, 2 h 10 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
