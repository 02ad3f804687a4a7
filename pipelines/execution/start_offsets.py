"""Where each partition of a job stands: from the target's ledger, checked against what the source still holds."""

import logging
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

import pyarrow as pa

from ...schemas.errors import (
    DeniedTopicsError,
    LostOffsetsError,
    MillraceError,
    SourceError,
    TableError,
    TransientSinkError,
)
from ...schemas.model.ledger import Account, Commit, Ledger, TopicPartition
from ...schemas.model.route import Route
from ...schemas.model.table import Table
from ...transforms.retry import Backoff, Retry, retried
from ...transforms.sinks import Sink
from ...transforms.sources.source import (
    ReadUpTo,
    SourceConnection,
    StartOffsets,
    log_cut_short,
    lost_offsets,
    recreated_topic,
)
from ..job.model import Job
from ..job.table_routes import TableRoute, route
from .job_parts import source_of, target_of

LOGGER: Final = logging.getLogger("millrace")
AWAY: Final = Backoff(1.0, 60.0, 120.0)
Bounds = Mapping[TopicPartition, tuple[int, int]]
"""By partition the first offset that is held, and the end."""


def find_routes(job: Job, connection: SourceConnection) -> dict[str, Route]:
    """The route of each topic that the job reads now, with its table's partitions numbered in order.

    Raises SourceError for a named topic that is not there, or where no topic matches; JobError where two topics
    would end in one table.
    """
    topics = connection.topics(job.source.topics, job.source.topic_pattern)
    if not topics:
        what = "table" if job.source.typed else "topic"
        raise SourceError(
            f"no {what} at {source_of(job).where} matches source.{what}_pattern: {job.source.topic_pattern}"
        )
    return routes_of(job, topics)


def routes_of(job: Job, topics: Mapping[str, Sequence[int]]) -> dict[str, Route]:
    """The route of each of these topics with these partitions. Raises JobError."""
    return {topic: _route(job, entry, topics) for topic, entry in route(job, topics).items()}


def _route(job: Job, entry: TableRoute, topics: Mapping[str, Sequence[int]]) -> Route:
    first = Route(
        table=entry.table,
        key=entry.key,
        on_truncate=entry.on_truncate,
        sources=tuple(TopicPartition(name, part) for name in entry.topics for part in topics[name]),
        event_time=job.window.by == "event",
        mode=entry.modes[0],
        on_unrepresentable=job.on_unrepresentable,
        on_new_source=entry.on_new_source,
        order_by=entry.order_by,
        on_incompatible=entry.on_incompatible,
        renames=entry.renames,
        columns=entry.columns,
        on_snapshot=entry.on_snapshot,
        on_two_sources=entry.on_two_sources,
    )
    copies = tuple(replace(first, table=table, mode=mode, copy=True) for table, mode in entry.copies.items())
    return replace(first, copies=copies)


def by_table(routes: Mapping[str, Route]) -> dict[str, Route]:
    """The route of each table, those beside the first ones too."""
    return {part.table: part for route in routes.values() for part in route.tables}


def without(routes: Mapping[str, Route], stopped: Container[str]) -> dict[str, Route]:
    """The routes without these tables; a topic that no other table needs is left out."""
    left = {topic: [part for part in route.tables if part.table not in stopped] for topic, route in routes.items()}
    return {topic: replace(parts[0], copies=tuple(parts[1:])) for topic, parts in left.items() if parts}


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """The next offset of each partition to read, and the end that is there now; `lost` are tables that cannot go on.

    `tails` are what the source remembers of the logs before those offsets. `epochs` are the tables whose ledger knows
    of epochs.
    """

    next: dict[TopicPartition, int]
    end: dict[TopicPartition, int]
    lost: dict[str, MillraceError]
    topic_ids: dict[str, int]
    tails: dict[TopicPartition, str] = field(default_factory=dict)
    epochs: set[str] = field(default_factory=set)


def with_epochs(routes: Mapping[str, Route], plan: ReadPlan) -> dict[str, Route]:
    """The routes, those marked whose tables' ledgers know of epochs."""

    def marked(part: Route) -> Route:
        return replace(part, epochs=part.table in plan.epochs)

    return {
        topic: replace(marked(route), copies=tuple(marked(copy) for copy in route.copies))
        for topic, route in routes.items()
    }


def find_read_plan(job: Job, connection: SourceConnection, sink: Sink, routes: Mapping[str, Route]) -> ReadPlan:
    """Ask the target's ledger and the source.

    A partition that the ledger does not know starts where the job says if its table is new, and at its beginning
    if the table is not: partitions added later are read whole. An offset that the source does not hold any more
    makes its table lost, and so does a topic that was deleted and created again; none is skipped. Where several
    tables are filled by one read, it begins at the smallest of their offsets: the others refuse what they have.
    """
    held, denied = held_offsets(connection, routes)
    topic_ids = connection.topic_ids(sorted(set(routes) - set(denied)))
    plan = ReadPlan({}, {source: high for source, (_, high) in held.items()}, {}, topic_ids)
    plan.lost.update(denied_tables(routes, denied))
    tables = {name: route for name, route in by_table(routes).items() if name not in plan.lost}
    ledgers = _ledgers(job, sink, tables, plan)
    lost = connection.cut_short(_read(ledgers.values()))
    for name, ledger in ledgers.items():
        entry = tables[name]
        other = [topic for topic, number in ledger.topic_ids.items() if topic_ids.get(topic, number) != number]
        if other:
            plan.lost[name] = _recreated(job, name, other[0], ledger)
            continue
        torn = sorted(set(_read([ledger])) & set(lost))
        if torn:
            said = log_cut_short(torn[0].partition, lost[torn[0]])
            plan.lost[name] = LostOffsetsError(f"table {name}: {said}")
            continue
        known = ledger.next
        if any(mark.epochs.begins for mark in ledger.marks.values()):
            plan.epochs.add(name)
        fresh = [source for source in entry.sources if source not in known]
        starts = {**known, **_starts(job, connection, fresh, held, new=not known)}
        gone = [source for source in entry.sources if not held[source][0] <= starts[source] <= held[source][1]]
        if gone:
            said = lost_offsets(gone[0], starts[gone[0]], *held[gone[0]], typed=job.source.typed)
            plan.lost[name] = LostOffsetsError(f"table {name}: {said}")
        else:
            _start_at(plan, starts, ledger)
    return plan


def held_offsets(
    connection: SourceConnection, routes: Mapping[str, Route]
) -> tuple[dict[TopicPartition, tuple[int, int]], dict[str, DeniedTopicsError]]:
    """The bounds of all partitions that may be read, and by topic why others may not. Raises SourceError."""
    denied: dict[str, DeniedTopicsError] = {}
    while True:
        sources = {source for route in routes.values() for source in route.sources if source.topic not in denied}
        try:
            held = connection.offsets(sorted(sources))
        except DeniedTopicsError as error:
            if not set(error.topics) & {source.topic for source in sources}:
                raise
            denied.update(dict.fromkeys(error.topics, error))
            continue
        for topic in sorted(set(routes) - set(denied) - {source.topic for source in sources}):
            denied[topic] = DeniedTopicsError(
                f"this user may not see the topic {topic}: give it the rights READ and DESCRIBE there, or leave it out",
                [topic],
            )
        return held, denied


def denied_tables(
    routes: Mapping[str, Route], denied: Mapping[str, DeniedTopicsError]
) -> Iterator[tuple[str, MillraceError]]:
    """The tables of these topics: each topic of a table counts."""
    for topic, error in denied.items():
        for part in routes[topic].tables if topic in routes else ():
            yield part.table, DeniedTopicsError(f"table {part.table}: {error}", error.topics)


def _ledgers(job: Job, sink: Sink, tables: Mapping[str, Route], plan: ReadPlan) -> dict[str, Ledger]:
    """What the target knows of each table; those that cannot go on are `lost` in the plan."""
    ledgers = {}
    for name, entry in tables.items():
        try:
            ledger = sink.ledger(job.job, name, entry.sources)
            _check_other_jobs(name, job.job, ledger, plan.topic_ids)
        except TableError as error:
            plan.lost[name] = error
        else:
            ledgers[name] = ledger
    return ledgers


def _read(ledgers: Iterable[Ledger]) -> list[ReadUpTo]:
    """How far these ledgers say that each partition was read, where the source can tell its log from another."""
    marks = (entry for ledger in ledgers for entry in ledger.marks.items())
    return sorted({ReadUpTo(source, mark.tail) for source, mark in marks if mark.tail})


def _start_at(plan: ReadPlan, starts: Mapping[TopicPartition, int], ledger: Ledger) -> None:
    """Read from the smallest offset that a table needs."""
    for source, at in starts.items():
        if at < plan.next.get(source, at + 1):
            plan.next[source] = at
            mark = ledger.marks.get(source)
            plan.tails[source] = "" if mark is None else mark.tail


def _starts(
    job: Job,
    connection: SourceConnection,
    fresh: list[TopicPartition],
    held: Mapping[TopicPartition, tuple[int, int]],
    new: bool,
) -> dict[TopicPartition, int]:
    start = job.source.start
    if not fresh:
        return {}
    if new and isinstance(start, datetime):
        return connection.offsets_at(int(start.timestamp() * 1000), fresh)
    latest = new and start == "latest"
    return {source: held[source][1 if latest else 0] for source in fresh}


def anchor(job: Job, sink: Sink, routes: Mapping[str, Route], plan: ReadPlan) -> None:
    """Write the first offsets of new tables and partitions, and their topics' ids: whatever comes goes on from them."""
    for name, entry in by_table(routes).items():
        if name in plan.lost:
            continue
        known = sink.ledger(job.job, name, entry.sources).next
        fresh = [source for source in entry.sources if source not in known]
        if not fresh:
            continue
        accounts = tuple(
            Account(source.topic, source.partition, plan.next[source], plan.next[source]) for source in fresh
        )
        ids = {topic: plan.topic_ids[topic] for topic in entry.topics if topic in plan.topic_ids}
        sink.commit(Table(name, (), pa.schema([])), [], Commit(job.job, accounts, topic_ids=ids))


@dataclass(frozen=True, slots=True)
class LedgerStartOffsets:
    """Where a stream of the job begins, asked in the worker that begins it: the target's ledger, else `start`.

    Tables that cannot go on (lost offsets) are left out and said; where none can, the first one's error is raised.
    Servers that are away are tried again for about two minutes.
    """

    job: Job
    topics: tuple[str, ...]

    def find(self) -> StartOffsets:
        passing = (SourceError, TransientSinkError)
        return retried("", self.look, Retry(AWAY, passing, lasts=lambda error: isinstance(error, LostOffsetsError)))

    def look(self) -> StartOffsets:
        """The same, asked once."""
        job = self.job
        with closing(source_of(job).connect()) as connection, closing(target_of(job).open()) as sink:
            routes = {topic: route for topic, route in find_routes(job, connection).items() if topic in self.topics}
            plan = find_read_plan(job, connection, sink, routes)
            for error in plan.lost.values():
                if not plan.next:
                    raise error
                LOGGER.error("%s", error)
            anchor(job, sink, routes, plan)
            return StartOffsets(dict(plan.next), plan.topic_ids, dict(plan.tails))


def _check_other_jobs(table: str, job: str, ledger: Ledger, topic_ids: Mapping[str, int]) -> None:
    """Raise where another job writes the same changes into a table that would keep both."""
    for topic, others in ledger.other_jobs.items():
        for other, number in sorted(others.items()):
            if number is None or topic_ids.get(topic, number) == number:
                raise TableError(
                    f"table {table}: the job {other!r} has written it from the topic {topic}, so this job ({job!r}) "
                    f"would write every change a second time; write to another path, or name the job {other!r} again"
                )


def _recreated(job: Job, table: str, topic: str, ledger: Ledger) -> LostOffsetsError:
    there = sorted((source, offset) for source, offset in ledger.next.items() if source.topic == topic)
    offsets = ", ".join(f"{source} at {offset}" for source, offset in there)
    said = recreated_topic(topic, "since the last run", offsets, typed=job.source.typed)
    return LostOffsetsError(f"table {table}: {said}")
