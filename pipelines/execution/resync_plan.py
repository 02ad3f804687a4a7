"""What building a table again would do: from which offsets, what an earlier try has done, and what would be lost."""

import hashlib
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from enum import StrEnum
from importlib.metadata import version
from typing import Final

from ...schemas.errors import JobError, LostOffsetsError, MillraceError, TableError, TerminalSinkError
from ...schemas.model.ledger import Ledger, OffsetRange, TopicPartition
from ...schemas.model.route import Route
from ...schemas.suggestions import guess
from ...transforms.resync_notes import ResyncNote, ResyncNotes
from ...transforms.sinks import SINKS, Sink
from ...transforms.sinks.shared.guarantees import Promise
from ...transforms.sinks.shared.resync import Resyncing
from ...transforms.sources.source import SourceConnection
from ..job.model import Job
from .beside import Beside
from .job_parts import source_of, target_of
from .start_offsets import Bounds, by_table, find_read_plan, find_routes, held_offsets

ENDING: Final = "__resync"


class Older(StrEnum):
    """What becomes of rows that rest on messages which the topic holds no more."""

    REFUSE = "refuse"
    KEEP = "keep"
    DROP = "drop"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResyncPlan:
    """One table. `ranges` are the offsets to read until now, `starts` where they begin, or began in an earlier try.

    `live` is the ledger of the table as it is; `lost`: the job cannot go on with it, for the reason `lost_why`.
    `gone`: offsets that the table has read and the source holds no more. `recreated`: its topics were made anew since.
    `copied`: the source is a database, and is copied again. `note` is that of an earlier try that this one takes up;
    `swapped`: it was killed behind the swap.
    """

    table: str
    ranges: tuple[OffsetRange, ...]
    starts: Mapping[TopicPartition, int]
    live: Ledger
    topic_ids: Mapping[str, int] = field(default_factory=dict)
    older: Older = Older.REFUSE
    lost_why: str = ""
    gone: tuple[OffsetRange, ...] = ()
    recreated: bool = False
    copied: bool = False
    note: ResyncNote | None = None
    swapped: bool = False
    settings: str = ""

    @property
    def lost(self) -> bool:
        return bool(self.lost_why)

    @property
    def loses(self) -> bool:
        """Whether rows may rest on messages that are gone."""
        return bool(self.gone) or self.recreated

    @property
    def beside(self) -> Beside:
        """The name under which it is built."""
        return Beside(self.table, self.table + ENDING)

    @property
    def refusal(self) -> str | None:
        """Why it is not done; None where nothing stands against it."""
        if not self.loses or self.older is Older.DROP:
            return None
        if self.older is Older.REFUSE:
            keep = "" if self.recreated or self.lost else "--keep-older carries such rows over, "
            why = f"Rows that rest on them would be lost: {keep}--drop-older lets them go"
        elif self.recreated:
            why = "Positions of both cannot be compared, so such rows cannot be kept: --drop-older lets them go"
        elif self.lost:
            why = (
                "Some of it was never read, and may have deleted or changed such rows, so they cannot be kept: "
                "--drop-older lets them go"
            )
        else:
            return None
        return f"table {self.table}: {self.loss}. {why}"

    @property
    def loss(self) -> str:
        """What the source holds no more."""
        if self.recreated:
            return "its topic was deleted and created again since the table was filled"
        first = self.gone[0]
        more = f", and {len(self.gone) - 1} partitions more" if len(self.gone) > 1 else ""
        return f"the topic holds no more what stood at {first.source} from {first.first:,} to {first.stop:,}{more}"


def plan_resync(job: Job, table: str, older: Older = Older.REFUSE, anew: bool = False) -> ResyncPlan:
    """Asks, and changes nothing. `anew`: what an earlier try has built is not taken up.

    Raises JobError for what can never be done, SourceError, SinkError, TableError.
    """
    refusal = SINKS.find(job.target.type).exceptions.get(Promise.RESYNCS)
    if refusal is not None:
        raise JobError(f"target: {job.target.type} cannot build a table again: {refusal}")
    with (
        closing(source_of(job)) as source,
        closing(source.connect()) as connection,
        closing(target_of(job).open()) as sink,
    ):
        routes = find_routes(job, connection)
        route = _route(job, table, routes, sink)
        mine = Beside(table, table).routes(routes)
        held, denied = held_offsets(connection, mine)
        for error in denied.values():
            raise error
        plan = _planned(job, connection, sink, mine, held)
        plan = replace(plan, older=older, copied=job.source.typed, settings=_settings(job, route, older))
        return plan if anew else _taken_up(job, plan, connection, sink, routes, held)


def _route(job: Job, table: str, routes: Mapping[str, Route], sink: Sink) -> Route:
    """Raises JobError where the table cannot be built again by this job."""
    known, beside = by_table(routes), table + ENDING
    if table not in known:
        raise JobError(f"--table {table}: the job fills no such table{guess(table, list(known))}")
    if beside in known:
        raise JobError(f"--table {table}: it is built again as {beside}, and the job fills a table of that name")
    if not isinstance(sink, Resyncing):
        raise JobError(f"target: {job.target.type} cannot build a table again: it cannot swap tables")
    if not sink.jobs(table) and table not in sink.tables():
        raise JobError(f"--table {table}: the target has no such table yet: millrace run fills it")
    for name in (table, beside):
        others = [other for other in sink.jobs(name) if other != job.job]
        if others:
            raise JobError(
                f"--table {table}: the job {others[0]!r} fills {name} too, and what comes of it would be lost; give "
                "each job a table of its own"
            )
    return known[table]


def _planned(
    job: Job, connection: SourceConnection, sink: Sink, routes: Mapping[str, Route], held: Bounds
) -> ResyncPlan:
    """Without what an earlier try has done."""
    (route,) = {part.table: part for part in routes.values()}.values()
    live, why, ids = Ledger(), "", connection.topic_ids(sorted(routes))
    try:
        live = sink.ledger(job.job, route.table, route.sources)
    except (TableError, TerminalSinkError) as error:
        why = str(error)
    if not why:
        lost: MillraceError | None
        try:
            lost = find_read_plan(job, connection, sink, routes).lost.get(route.table)
        except LostOffsetsError as error:
            lost = error
        if lost is not None and not isinstance(lost, LostOffsetsError):
            raise lost
        why = "" if lost is None else str(lost)
    recreated = any(ids.get(topic, number) != number for topic, number in live.topic_ids.items())
    follows = not (recreated or job.source.typed)
    starts = {
        source: max(first, live.start.get(source, first)) if follows else first for source, (first, _) in held.items()
    }
    begins = {source: live.start.get(source, 0) for source in held} if follows else {}
    gone = [
        OffsetRange(source.topic, source.partition, begin, held[source][0])
        for source, begin in sorted(begins.items())
        if begin < held[source][0] and (source in live.next or why)
    ]
    ranges = tuple(
        OffsetRange(s.topic, s.partition, first, max(first, held[s][1])) for s, first in sorted(starts.items())
    )
    return ResyncPlan(
        table=route.table,
        ranges=ranges,
        starts=starts,
        live=live,
        topic_ids=ids,
        lost_why=why,
        gone=tuple(gone),
        recreated=recreated,
    )


def _taken_up(
    job: Job, plan: ResyncPlan, connection: SourceConnection, sink: Sink, routes: Mapping[str, Route], held: Bounds
) -> ResyncPlan:
    """The plan that goes on where an earlier one was killed, if it was for the same, and the source still holds it."""
    note = ResyncNotes(job.dead_letters, job.job).read(plan.table)
    if note is None:
        return plan
    mine = plan.beside.routes(routes)
    built = sink.ledger(job.job, plan.beside.name, sorted(held)).next
    if not built:
        return replace(plan, note=note, swapped=True) if note.swaps else plan
    if note.settings != plan.settings or note.starts.keys() - built.keys():
        return plan
    try:
        lost = find_read_plan(job, connection, sink, mine).lost
    except LostOffsetsError:
        return plan
    if lost:
        return plan
    ranges = tuple(replace(part, first=min(built.get(part.source, part.first), part.stop)) for part in plan.ranges)
    return replace(plan, note=note, starts=note.starts, ranges=ranges)


def _settings(job: Job, route: Route, older: Older) -> str:
    """What the rows come of beside the messages, in short: with other settings, nothing is taken up."""
    told = repr(
        (version("millrace"), older, replace(route, sources=(), copies=(), copy=False, epochs=False), job.format)
    )
    return hashlib.sha256(told.encode()).hexdigest()[:16]
