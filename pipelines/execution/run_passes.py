"""Run a job: find where each table stands, then pass after pass until the end, or until told to stop."""

import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final

from ...schemas.errors import (
    ColumnsDecidedError,
    CommitAgainError,
    DeniedTopicsError,
    LostOffsetsError,
    MillraceError,
    RegistryError,
    SinkError,
    SourceError,
    TableError,
    TransientSinkError,
)
from ...schemas.model.ledger import OffsetRange, TopicPartition
from ...schemas.model.route import Route
from ...transforms.dead_letters import DeadLetterFiles
from ...transforms.retry import ENDLESS, Retry, retried
from ...transforms.sinks.sink import Resting
from ...transforms.sources.database import Confirming
from ...transforms.stop_notes import StopNote
from ..job.model import Job
from .beside import Beside
from .job_parts import source_of, target_of
from .pass_ranges import OffsetProgress, next_ranges
from .progress import Progress
from .renames import rename_due
from .run_state import Run
from .snapshot_notes import end_snapshots
from .start_offsets import (
    ReadPlan,
    anchor,
    by_table,
    denied_tables,
    find_read_plan,
    held_offsets,
    with_epochs,
    without,
)
from .stopping import stopping
from .summary import Summary
from .told_progress import tell_progress

if TYPE_CHECKING:
    from .bounded_pass import PassResult

PASSING: Final = (SourceError, RegistryError, TransientSinkError)


def run(job: Job, *, once: bool, progress: Progress, beside: Beside | None = None) -> Summary:
    """Sync the job's topics into its target; with `beside` one of its tables alone, under another name.

    `once`: up to the end offsets found at the start. Otherwise such stretches follow one another, one a window,
    until SIGINT or SIGTERM: the pass that runs is committed, then the run ends. So it does once every table has
    stopped. Raises JobError, SourceError, SinkError for what stops the whole run; a table that stops is in the summary.
    """
    started, clock, cpu = datetime.now(UTC), time.monotonic(), time.process_time()
    target, source = target_of(job), source_of(job)
    with (
        closing(source),
        stopping(progress) as stop,
        closing(source.connect()) as connection,
        closing(target.open()) as sink,
    ):
        letters = DeadLetterFiles(job.dead_letters, job.job, started)
        letters.open()
        summary = Summary(job=job.job, file=job.file, dead_letters=job.dead_letters.path)
        state = Run(job, connection, sink, progress, target, letters, summary, stop, once, beside=beside)
        state.noted = set(state.notes.read())
        while True:
            window = time.monotonic()
            _stretch(state)
            if once or state.all_stopped:
                break
            if isinstance(sink, Resting):
                sink.rest()
            if stop.wait(max(0.0, job.window.every.total_seconds() - (time.monotonic() - window))):
                break
        summary.seconds, summary.cpu_seconds = time.monotonic() - clock, time.process_time() - cpu
        return _closed(state)


def _stretch(state: Run) -> None:
    """To the end once; a run that goes on waits for a server that is away, `--once` leaves that to the reader."""
    if state.once:
        _to_the_end(state)
        return
    retry = Retry(ENDLESS, PASSING, lasts=is_lost, stop=state.stop, say=state.progress.note)
    try:
        retried("", partial(_to_the_end, state), retry)
    except PASSING as error:
        if is_lost(error) or not state.stop.is_set():
            raise


def is_lost(error: Exception) -> bool:
    """Whether waiting does not help: the offsets are gone."""
    return isinstance(error, LostOffsetsError)


def _to_the_end(state: Run) -> None:
    """Passes up to the end offsets of this moment; from the ledger again where a table has begun an epoch."""
    while _passes(state):
        pass


def _passes(state: Run) -> bool:
    """Passes from the ledger on; whether some table has to be read from its ledger again."""
    routes = state.routes()
    live = without(routes, state.failed)
    ended = end_snapshots(state.job, state.sink, live, state.summary)
    for name, refused in {**ended, **rename_due(state.sink, live)}.items():
        _fail(state, name, refused)
    plan = find_read_plan(state.job, state.connection, state.sink, without(routes, state.failed))
    if isinstance(state.connection, Confirming) and state.connection.prepare(plan.next):
        plan = find_read_plan(state.job, state.connection, state.sink, without(routes, state.failed))
    for name, error in plan.lost.items():
        _fail(state, name, error)
    if state.job.source.start != "earliest":
        anchor(state.job, state.sink, without(routes, state.failed), plan)
    _confirm(state, plan, routes)
    plan = plan if state.beside is None else state.beside.limited(plan)
    routes, state.begun = with_epochs(routes, plan), False
    stretch = OffsetProgress(plan.next, plan.end)
    tell_progress(state, stretch)
    while stretch.left and not state.stop.is_set():
        ranges = next_ranges(state.connection, stretch, state.budget.offsets)
        live = without(routes, state.failed)
        try:
            done = _pass(state, ranges, live, plan.topic_ids)
        except DeniedTopicsError as error:
            _deny(state, error, live, stretch)
            continue
        _account(state, done, live, stretch)
        # A sink that has been asked stays open: else each pass would close and checkpoint a DuckDB file.
        state.sink.tables()
        state.budget.learn(sum(part.stop - part.first for part in ranges), done.size)
    for name, route in by_table(without(routes, state.failed)).items():
        state.summary.table(name).lag = sum(
            stretch.end[source] - stretch.next.get(source, 0) for source in route.sources if source in stretch.end
        )
    _tell_stopped(state, {name: route for name, route in by_table(routes).items() if name in state.failed})
    state.all_stopped = not without(routes, state.failed)
    return state.begun and not state.stop.is_set()


def _confirm(state: Run, plan: ReadPlan, routes: Mapping[str, Route]) -> None:
    """Tell a source that keeps its log for us what all ledgers hold; a table that has stopped still needs its part."""
    whole = {source for route in routes.values() for source in route.sources} == set(plan.next)
    # What is built beside says nothing of how far the other tables are.
    alone = state.beside is not None
    if isinstance(state.connection, Confirming) and whole and not state.failed and not alone:
        state.connection.confirm(plan.next)


def _deny(state: Run, error: DeniedTopicsError, routes: Mapping[str, Route], stretch: OffsetProgress) -> None:
    """Only when it was read did a topic turn out to be forbidden: its tables stop, and its partitions are left."""
    tables = dict(denied_tables(routes, dict.fromkeys(error.topics, error)))
    if not tables:
        raise error
    for name, reason in tables.items():
        _fail(state, name, reason)
    for topic in error.topics:
        for source in routes[topic].sources if topic in routes else ():
            stretch.next.pop(source, None)


def _tell_stopped(state: Run, stopped: Mapping[str, Route]) -> None:
    """The lag of stopped tables, by their ledgers: it grows while they stand. Each is noted for those who ask later."""
    if not stopped:
        return
    held, _ = held_offsets(state.connection, {topic: route for route in stopped.values() for topic in route.topics})
    next = {source: first for source, (first, _) in held.items()}
    for name, route in stopped.items():
        reached = {} if is_lost(state.failed[name]) else _reached(state, route)
        sources = [source for source in route.sources if source in held]
        unread = {source: held[source][1] - reached.get(source, next[source]) for source in sources}
        state.summary.table(name).lag = sum(max(0, lag) for lag in unread.values())
        next.update({source: reached[source] for source in sources if source in reached})
        if name not in state.told and state.beside is None:
            state.told.add(name)
            _note(state, StopNote.of(name, state.failed[name], reached))
    state.progress.update(next, {source: end for source, (_, end) in held.items()}, state.summary.total("dead"))


def _reached(state: Run, route: Route) -> Mapping[TopicPartition, int]:
    """By the ledger; nothing where that is damaged."""
    try:
        return state.sink.ledger(state.job.job, route.table, route.sources).next
    except TableError:
        return {}


def _note(state: Run, note: StopNote) -> None:
    try:
        state.notes.write(note)
    except MillraceError as error:
        state.progress.note(f"table {note.table}: that it stopped could not be noted beside the dead letters: {error}")


def _pass(
    state: Run, ranges: Sequence[OffsetRange], routes: Mapping[str, Route], ids: Mapping[str, int]
) -> "PassResult":
    # Beam and the compiled loops take a second to import: a run that finds nothing new does without them.
    from .bounded_pass import Passes, run_pass

    if state.passes is None:
        state.passes = Passes(state.job, state.target, state.dead_letters)
    return run_pass(ranges, state.passes.graph(routes, ids, state.summary))


def _account(state: Run, done: "PassResult", routes: Mapping[str, Route], stretch: OffsetProgress) -> None:
    """Move the partitions that were committed; take those of tables that stopped out of the stretch.

    A table that stopped for good leaves the partitions to the others that they fill.
    """
    state.summary.passes += 1
    for outcome in done.outcomes:
        _go_on(state, outcome.table)
        table = state.summary.table(outcome.table)
        table.add(outcome.accounts)
        table.copy = outcome.copy
        table.unfilled, table.reason = table.unfilled + outcome.unfilled, outcome.reason or table.reason
        table.replaced, table.kept = table.replaced + outcome.replaced, outcome.kept or table.kept
        table.again, table.other = table.again or outcome.again, outcome.other or table.other
        for account in outcome.accounts:
            if account.stop >= 0:
                stretch.next[account.source] = account.stop
    for failure in done.failures:
        _fail(state, failure.table, failure.error)
    waiting = {failure.table for failure in done.failures} - set(state.failed)
    for route in routes.values():
        tables = {part.table for part in route.tables}
        for source in route.sources if tables & waiting or tables <= set(state.failed) else ():
            stretch.next.pop(source, None)
    tell_progress(state, stretch)


def _go_on(state: Run, table: str) -> None:
    """A table that an earlier run left stopped goes on."""
    if table in state.noted and table not in state.failed:
        state.noted.discard(table)
        with suppress(SinkError):
            state.notes.clear(table)


def _fail(state: Run, table: str, error: MillraceError) -> None:
    """The table stops; where the error may pass and the run goes on, only until the next window."""
    if isinstance(error, CommitAgainError):
        state.begun = True
        what = (
            "has columns for values of new types now"
            if isinstance(error, ColumnsDecidedError)
            else ("is filled by a new source")
        )
        state.progress.note(f"table {table}: it {what}; going on from the offset that the ledger has")
        return
    if isinstance(error, PASSING) and not isinstance(error, LostOffsetsError) and not state.once:
        state.progress.note(f"table {table}: {error}; trying again with the next window")
        return
    if table not in state.failed:
        state.failed[table] = error
        state.progress.note(f"table {table} stops here: {error}")


def _closed(state: Run) -> Summary:
    summary = state.summary
    for name, error in state.failed.items():
        summary.table(name).error = str(error)
    for table in summary.tables.values():
        if table.table in state.sink.tables():
            table.where = state.sink.describe(table.table)
    return summary
