"""What a run came to: counts by table, where the data is, and the command to type next."""

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ...schemas.model.ledger import Account
from ...schemas.plurals import counted
from ..job.formatting import aligned, duration

AGAIN: Final = (
    "a further snapshot was read: rows that were deleted at the source while nobody listened may be left "
    "(on_snapshot: replace deletes them)"
)
KEPT: Final = "rows that the last snapshot does not have were not deleted: {why}"
COUNTS: Final = ("read", "applied", "superseded", "filtered", "dead")


@dataclass(slots=True, kw_only=True)
class TableSummary:
    """One table; read = applied + superseded + filtered + dead, `lag` in offsets up to the last end seen.

    `unfilled` counts values that no row held, `where` is `Sink.describe`, `error` says why the table stopped. A `copy`
    is filled from the messages of another table: they count there. `reason` is that of most dead letters. `replaced`
    rows were deleted since a whole snapshot lacks them, `kept` says why those of the last one were not; `again`: a
    further snapshot was read, which deletes nothing. `other` says what messages are that are no changes of a table.
    """

    table: str
    read: int = 0
    applied: int = 0
    superseded: int = 0
    filtered: int = 0
    dead: int = 0
    unfilled: int = 0
    lag: int = 0
    where: str = ""
    error: str | None = None
    copy: bool = False
    reason: str = ""
    replaced: int = 0
    kept: str = ""
    again: bool = False
    other: str = ""

    def notes(self) -> Iterator[str]:
        """What a person should know beside the counts: of snapshots, and of messages that are no changes."""
        if self.other:
            yield f"left out: messages of the topic are {self.other}, and no changes of a table"
        if self.replaced:
            yield f"{counted(self.replaced, 'row')} deleted that a whole snapshot does not have"
        if self.kept:
            yield KEPT.format(why=self.kept)
        if self.again:
            yield AGAIN

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
    dead_letters: str
    tables: dict[str, TableSummary] = field(default_factory=dict)
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    passes: int = 0

    def table(self, name: str) -> TableSummary:
        """The table's counts, begun where there are none yet."""
        return self.tables.setdefault(name, TableSummary(table=name))

    def total(self, name: str) -> int:
        """The sum of one count (`read` ..., `unfilled`, `lag`) over all tables but copies."""
        return sum(getattr(table, name) for table in self.tables.values() if not table.copy)

    @property
    def failed(self) -> bool:
        """Whether a table stopped, or messages were read and all of them are dead letters."""
        return self.all_dead or any(table.error is not None for table in self.tables.values())

    @property
    def all_dead(self) -> bool:
        """Whether messages were read and each became a dead letter."""
        return 0 < self.total("read") == self.total("dead")

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
            "dead_letters": self.dead_letters,
            "tables": [
                {"table": table.table, **{name: getattr(table, name) for name in names}}
                | {"where": table.where, "error": table.error, "replaced": table.replaced}
                for table in self.tables.values()
            ],
        }

    def lines(self) -> list[str]:
        """For people, line by line; the last ones are the commands to type next."""
        names = (*COUNTS, "lag")
        rows = [[table.table, *(f"{getattr(table, name):,}" for name in names)] for table in self.tables.values()]
        lines = [*aligned([["table", *names], *rows]), ""] if rows else []
        lines.append(self._speed())
        lines += [f"  {table.table}: {table.where}" for table in self.tables.values() if table.where]
        if self.all_dead:
            reason = next((table.reason for table in self.tables.values() if table.reason), "")
            lines.append(f"  all messages became dead letters, most of them for this reason: {reason}")
        if self.total("dead"):
            lines.append(f"  dead letters: {self.dead_letters}")
        if self.total("unfilled"):
            lines.append(f"  {counted(self.total('unfilled'), 'unavailable value')} stood in no row: NULL there")
        lines += [f"  {table.table}: {said}" for table in self.tables.values() for said in table.notes()]
        for table in self.tables.values():
            if table.error is not None:
                unread = f", {counted(table.lag, 'message')} unread" if table.lag else ""
                lines.append(f"  {table.table} stopped{unread}: {table.error.removeprefix(f'table {table.table}: ')}")
        return [*lines, *(f"next: {command}" for command in self.next())]

    def _speed(self) -> str:
        read = self.total("read")
        waiting = sum(table.lag for table in self.tables.values() if table.error is not None)
        if not read and waiting:
            return f"nothing was committed, and {counted(waiting, 'message')} wait; in {duration(self.seconds)}"
        if not read and self.failed:
            return f"nothing was committed, in {duration(self.seconds)}"
        if not read:
            return f"nothing new to read, in {duration(self.seconds)}"
        cpu = f", {read / self.cpu_seconds:,.0f} a CPU-second" if self.cpu_seconds > 0 else ""
        return f"{counted(read, 'message')} read in {duration(self.seconds)}: {self.rate:,.0f} a second{cpu}"

    def next(self) -> list[str]:
        """Commands that a person would type now."""
        file = shlex.quote(str(self.file))
        commands = [f"millrace check {file}" if self.failed else f"millrace verify {file}"]
        return [*commands, f"millrace dead-letters ls {file}"] if self.total("dead") else commands
