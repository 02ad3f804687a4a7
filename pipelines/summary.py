"""What a run came to: counts by table, where the data is, and the command to type next."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from .job import Job

if TYPE_CHECKING:
    from ..transforms.apply import Outcome

COUNTS: Final = ("read", "applied", "superseded", "filtered", "dead", "skipped")


@dataclass(slots=True, kw_only=True)
class TableSummary:
    """One table, or all; read = applied + superseded + filtered + dead + skipped.

    `unfilled` counts values that no row held, `where` is `Sink.describe`, `error` says why the table stopped.
    """

    table: str
    read: int = 0
    applied: int = 0
    superseded: int = 0
    filtered: int = 0
    dead: int = 0
    skipped: int = 0
    unfilled: int = 0
    where: str = ""
    error: str | None = None

    def counts(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in COUNTS}


@dataclass(slots=True, kw_only=True)
class Summary:
    """A run: `lag` in offsets up to the last end seen; `seconds` of the clock, `cpu_seconds` of all threads."""

    job: str
    tables: dict[str, TableSummary] = field(default_factory=dict)
    total: TableSummary = field(default_factory=lambda: TableSummary(table="all"))
    lag: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    def table(self, name: str) -> TableSummary:
        """The table's counts, begun where there are none yet."""
        return self.tables.setdefault(name, TableSummary(table=name))

    def add(self, outcome: "Outcome") -> None:
        """Count a commit in."""
        for part in (self.table(outcome.table), self.total):
            part.unfilled += outcome.unfilled
            for account in outcome.accounts:
                for name in COUNTS:
                    setattr(part, name, getattr(part, name) + getattr(account, name))

    @property
    def failed(self) -> bool:
        """Whether a table stopped."""
        return any(table.error is not None for table in self.tables.values())

    @property
    def rate(self) -> float:
        """Changes read a second."""
        return self.total.read / self.seconds if self.seconds > 0 else 0.0

    def to_json(self, job: Job) -> dict[str, Any]:
        """Plain data for `--json`."""
        return {
            "job": self.job,
            "ok": not self.failed,
            **self.total.counts(),
            "unfilled": self.total.unfilled,
            "lag": self.lag,
            "seconds": round(self.seconds, 3),
            "cpu_seconds": round(self.cpu_seconds, 3),
            "changes_per_second": round(self.rate),
            "dead_letters": str(job.dead_letters),
            "tables": [
                {
                    "table": table.table,
                    **table.counts(),
                    "unfilled": table.unfilled,
                    "where": table.where,
                    "error": table.error,
                }
                for table in self.tables.values()
            ],
        }

    def lines(self, job: Job) -> list[str]:
        """For people, line by line."""
        rows = [[table.table, *(f"{count:,}" for count in table.counts().values())] for table in self.tables.values()]
        lines = [*aligned([["table", *COUNTS], *rows]), ""] if rows else []
        cpu = f", {self.total.read / self.cpu_seconds:,.0f} a CPU-second" if self.cpu_seconds > 0 else ""
        speed = f": {self.rate:,.0f} a second{cpu}" if self.total.read else ""
        lines.append(f"{self.total.read:,} changes read in {duration(self.seconds)}{speed}; lag {self.lag:,}")
        lines += [f"  {table.table}: {table.where}" for table in self.tables.values() if table.where]
        if self.total.dead:
            lines.append(f"  dead letters: {job.dead_letters}")
        if self.total.unfilled:
            lines.append(f"  {self.total.unfilled:,} unavailable values stood in no row and are NULL")
        lines += [
            f"  {table.table} stopped: {table.error}" for table in self.tables.values() if table.error is not None
        ]
        return [*lines, *self._next(job)]

    def _next(self, job: Job) -> list[str]:
        file = shlex.quote(str(job.file))
        commands = [f"millrace check {file}" if self.failed else f"millrace verify {file}"]
        if self.total.dead:
            commands.append(f"millrace dead-letters ls {file}")
        return [f"next: {command}" for command in commands]


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of texts as lines with columns: the first to the left, the others, numbers, to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            text.rjust(width) if i else text.ljust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def duration(seconds: float) -> str:
    """0.4 s, 12 s, 3 min 05 s, 2 h 10 min."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
