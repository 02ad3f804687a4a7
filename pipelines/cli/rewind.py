"""`millrace rewind`: a table's topics are read again from an earlier offset."""

import shlex
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import pyarrow as pa

from ...schemas.errors import JobError, LostOffsetsError
from ...schemas.model.ledger import Account, Commit, OffsetRange, TopicPartition
from ...schemas.model.table import Table
from ...schemas.plurals import counted
from ...schemas.suggestions import guess
from ...transforms.dead_letter_marks import LetterMark, State, write_mark
from ...transforms.sinks import SINKS
from ...transforms.sinks.shared.guarantees import Promise
from ...transforms.sources.source import SourceConnection
from ..execution.job_parts import source_of, target_of
from ..execution.start_offsets import by_table, find_read_plan, find_routes
from ..job.model import Job
from .asking import asked

EARLIEST: Final = "earliest"


@dataclass(frozen=True, slots=True, kw_only=True)
class RewindPlan:
    """The offsets [first, stop) of each partition that the next run reads again."""

    table: str
    ranges: tuple[OffsetRange, ...] = field(default=())

    @property
    def messages(self) -> int:
        """Offsets in all, of which some may hold no message."""
        return sum(part.stop - part.first for part in self.ranges)


def plan_rewind(job: Job, table: str, to: str) -> RewindPlan:
    """What going back to an offset, a time or `earliest` means. Raises JobError, SourceError, SinkError, TableError.

    JobError for an unknown table, and for what is neither; LostOffsetsError where the topic holds it no more.
    """
    refusal = SINKS.find(job.target.type).exceptions.get(Promise.REWINDS)
    if refusal is not None:
        raise JobError(f"target: {job.target.type} cannot go back: {refusal}")
    with closing(source_of(job).connect()) as connection, closing(target_of(job).open()) as sink:
        topics = find_routes(job, connection)
        routes = by_table(topics)
        if table not in routes:
            raise JobError(f"--table {table}: the job fills no such table{guess(table, list(routes))}")
        lost = find_read_plan(job, connection, sink, topics).lost.get(table)
        # A table that lost its offsets may go back to those that are left; one whose topic is another one may not.
        if lost is not None and not isinstance(lost, LostOffsetsError):
            raise lost
        next = sink.ledger(job.job, table, routes[table].sources).next
        held = connection.offsets(sorted(next))
        wanted = _wanted(connection, to, next, held)
    ranges = []
    for source, offset in sorted(wanted.items()):
        if offset < held[source][0]:
            raise JobError(
                f"--to {to}: {source} begins at offset {held[source][0]:,} now, what stood before is gone; "
                f"--to {EARLIEST} goes back as far as can be"
            )
        if next[source] > held[source][1]:
            raise LostOffsetsError(
                f"{source} ends at offset {held[source][1]:,}, before {next[source]:,} of the ledger"
            )
        if offset < next[source]:
            ranges.append(OffsetRange(source.topic, source.partition, offset, next[source]))
    return RewindPlan(table=table, ranges=tuple(ranges))


def _wanted(
    connection: SourceConnection,
    to: str,
    next: Mapping[TopicPartition, int],
    held: Mapping[TopicPartition, tuple[int, int]],
) -> dict[TopicPartition, int]:
    """The offset of each partition that the ledger knows."""
    if to == EARLIEST:
        return {source: held[source][0] for source in next}
    if to.isascii() and to.isdigit():
        return dict.fromkeys(next, int(to))
    try:
        moment = datetime.fromisoformat(to)
    except ValueError:
        raise JobError(f"--to {to}: write an offset, a time such as 2026-01-02T03:04:05Z, or {EARLIEST}") from None
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return connection.offsets_at(int(moment.timestamp() * 1000), sorted(next))


def confirmed(plan: RewindPlan, yes: bool) -> bool:
    """Whether a person has said so. Raises JobError where nobody can be asked."""
    return bool(plan.ranges) and (yes or asked("rewind", _ranges(plan), "go back?"))


def rewind(job: Job, plan: RewindPlan) -> None:
    """Set the ledger back, then mark the dead letters of those offsets as read again. Raises SinkError, TableError."""
    with closing(target_of(job).open()) as sink:
        accounts = tuple(Account(part.topic, part.partition, part.first, part.first) for part in plan.ranges)
        sink.commit(Table(plan.table, (), pa.schema([])), [], Commit(job.job, accounts, rewind=True))
    write_mark(job.dead_letters, job.job, LetterMark(state=State.READ_AGAIN, ranges=plan.ranges))


def _ranges(plan: RewindPlan) -> list[str]:
    lines = [f"table {plan.table}: {counted(plan.messages, 'offset')} to read again"]
    return lines + [f"  {part.source}: from {part.stop:,} back to {part.first:,}" for part in plan.ranges]


def rewind_lines(plan: RewindPlan, job: Job, done: bool) -> list[str]:
    """What goes back, what that means, and what to do."""
    if not plan.ranges:
        return [f"table {plan.table}: nothing to do: its ledger stands there or before, and rewind goes back only"]
    if not done:
        return [*_ranges(plan), "nothing was changed"]
    return [
        *_ranges(plan),
        "no row was taken out: the guard refuses what the rows have already",
        f"next: millrace run {shlex.quote(str(job.file))} --once",
    ]


def rewind_json(plan: RewindPlan, done: bool) -> dict[str, Any]:
    """The same as data."""
    offsets = {str(part.source): {"from": part.stop, "to": part.first} for part in plan.ranges}
    return {"table": plan.table, "offsets": offsets, "done": done}
