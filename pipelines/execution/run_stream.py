"""Run a stream and watch it: progress, tables that stop, servers that come back, topics that appear, and its end."""

import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from threading import Event
from typing import Any, Final

from apache_beam.metrics.metric import MetricsFilter
from apache_beam.runners.runner import PipelineState

from ...schemas.errors import LedgerGapError, MillraceError, SourceError
from ...schemas.model.ledger import TopicPartition
from ...transforms.retry import ENDLESS, Retry, retried
from ...transforms.sources.discovery import close_discoveries
from ...transforms.sources.lag import readings
from ...transforms.sources.stream import DRAIN
from ...transforms.steps.commit import Outcome
from ...transforms.steps.outcome_queue import collect
from ..job.model import Job
from ..runners.errors import error_from_runner
from ..runners.runner import Runner
from .bounded_pass import keep_memory
from .job_parts import source_of, target_of
from .own_signals import kill_started, own_signals
from .progress import Progress
from .run_passes import PASSING, is_lost
from .standings import Standing, standings
from .start_offsets import LedgerStartOffsets, by_table, routes_of
from .stopping import stopping
from .stream_pipeline import assemble, topics_of
from .summary import COUNTS, Summary

LOOK_SECONDS: Final = 0.5
ASK_SECONDS: Final = 5.0
DRAIN_SECONDS: Final = 120.0
ENDED: Final = (PipelineState.DONE, PipelineState.FAILED, PipelineState.CANCELLED, PipelineState.DRAINED)


@dataclass(slots=True)
class StreamRun:
    """One run of a stream; `post` is the name under which workers of this process post what they commit."""

    job: Job
    runner: Runner
    progress: Progress
    summary: Summary
    stop: Event
    post: str = field(default_factory=lambda: uuid.uuid4().hex)
    next: dict[TopicPartition, int] = field(default_factory=dict)
    end: dict[TopicPartition, int] = field(default_factory=dict)
    asked: float = 0.0
    gap: bool = False


def run_stream(job: Job, runner: Runner, progress: Progress) -> Summary:
    """Keep the job's tables equal to its topics until SIGINT or SIGTERM: then what was read is committed, and it ends.

    Where the workers are in this process, a server that is away is waited for, and topics that begin to match the
    pattern are taken up, by starting the pipeline again from the ledger. Elsewhere the runner does the former, and the
    latter is said. Raises JobError, SourceError, SinkError, and MillraceError for what ended the job.
    """
    keep_memory()
    started, cpu = time.monotonic(), time.process_time()
    summary = Summary(job=job.job, file=job.file, dead_letters=job.dead_letters.path)
    with closing(source_of(job)), stopping(progress, kill_started) as stop, own_signals():
        watch = StreamRun(job, runner, progress, summary, stop)
        _stream_on(watch)
        summary.seconds, summary.cpu_seconds = time.monotonic() - started, time.process_time() - cpu
        _close(watch)
    return summary


def _stream_on(watch: StreamRun) -> None:
    """One pipeline after the other; where it is ours to wait for a server that is away, also after that."""

    def lasts(error: Exception) -> bool:
        return is_lost(error) or not watch.runner.here or not watch.next

    def attempt() -> None:
        while _streamed(watch):
            pass

    try:
        retried("", attempt, Retry(ENDLESS, PASSING, lasts=lasts, stop=watch.stop, say=watch.progress.note))
    except PASSING as error:
        if lasts(error) or not watch.stop.is_set():
            raise


def _streamed(watch: StreamRun) -> bool:
    """One pipeline from its start to its end; whether another one should follow, with the topics there are then."""
    topics = topics_of(watch.job)
    # Asked here too, where errors have a reader: the workers ask again when they begin.
    begin = LedgerStartOffsets(watch.job, topics).look()
    watch.next.update(begin.first)
    names = by_table(routes_of(watch.job, {topic: [0] for topic in topics}))
    with _draining():
        post = watch.post if watch.runner.here else None
        pipeline = assemble(watch.job, watch.runner.options, topics, post, watch.runner.by_timer)
        result = pipeline.run()
        again = watch.gap = False
        while not (result.state in ENDED or again or all_stopped(watch, names) or watch.stop.wait(LOOK_SECONDS)):
            _look(watch)
            again = watch.gap or (watch.runner.here and _grown(watch, topics))
        asked = result.state not in ENDED
        if not watch.runner.here and asked:
            watch.progress.note(watch.runner.end(result))
        _settle(watch, result, asked)
    return again and not watch.stop.is_set()


def all_stopped(watch: StreamRun, names: Iterable[str]) -> bool:
    """Whether none of these tables goes on."""
    found = watch.summary.tables
    return all(name in found and found[name].error is not None for name in names)


@contextmanager
def _draining() -> Iterator[None]:
    """Streams of this process begin undrained, and nothing of them stays."""
    DRAIN.clear()
    try:
        yield
    finally:
        close_discoveries()


def _look(watch: StreamRun) -> None:
    """Take in what was committed, and now and then how far the topics go."""
    if watch.runner.here:
        _take(watch)
    if time.monotonic() - watch.asked >= ASK_SECONDS:
        watch.asked = time.monotonic()
        try:
            found = _standings(watch)
        except (SourceError, *PASSING) as error:
            watch.progress.note(f"{error}; asking again in {ASK_SECONDS:.0f} s")
            return
        watch.end.update({standing.source: standing.end for standing in found})
        if not watch.runner.here:
            watch.next.update({one.source: one.committed for one in found if one.committed is not None})
    watch.progress.update(watch.next, watch.end, watch.summary.total("dead"), _ages(watch))


def _ages(watch: StreamRun) -> dict[str, float]:
    """How old what this process reads is, in seconds, by topic: its oldest partition; nothing where others read."""
    ages: dict[str, float] = {}
    for source, reading in readings().items():
        if source in watch.end and reading.behind is not None:
            ages[source.topic] = max(reading.behind / 1000, ages.get(source.topic, 0.0))
    return ages


def _take(watch: StreamRun) -> None:
    for item in collect(watch.post):
        table = watch.summary.table(item.table)
        if isinstance(item, Outcome):
            table.add(item.accounts)
            table.copy = item.copy
            table.unfilled += item.unfilled
            table.reason = item.reason or table.reason
            watch.summary.passes += 1
            for account in item.accounts:
                if account.stop >= 0:
                    if account.source not in watch.next:
                        # A new partition counts from where it begins.
                        watch.progress.update({account.source: account.first}, watch.end)
                    watch.next[account.source] = max(account.stop, watch.next.get(account.source, 0))
        elif isinstance(item.error, LedgerGapError):
            # What is missing in between, the runner has lost: the topic still has it.
            if not watch.gap:
                watch.progress.note(f"table {item.table}: the runner left offsets out; going on again from the ledger")
            watch.gap = True
        elif table.error is None:
            table.error = str(item.error)
            watch.progress.note(f"table {item.table} stops here: {item.error}")


def _standings(watch: StreamRun) -> list[Standing]:
    job = watch.job
    with closing(source_of(job).connect()) as connection, closing(target_of(job).open()) as sink:
        return standings(job, connection, sink)


def _grown(watch: StreamRun, topics: Sequence[str]) -> bool:
    """Whether topics match the pattern now that did not; asked as often as the standings are."""
    known = {source.topic for source in watch.end}
    fresh = sorted(known - set(topics))
    if fresh:
        watch.progress.note(f"new topics: {', '.join(fresh)}; committing, then going on with them")
    return bool(fresh)


def _settle(watch: StreamRun, result: Any, asked: bool) -> None:
    """Wait until the pipeline has ended, and raise what ended it, if that was not `asked` for."""
    if watch.runner.here:
        DRAIN.set()
    try:
        result.wait_until_finish(duration=round(DRAIN_SECONDS * 1000))
    except RuntimeError as error:
        if not (asked and result.state == PipelineState.CANCELLED):
            raise error_from_runner(watch.runner.name, error) from None
    finally:
        _take(watch)
    if not watch.runner.here:
        _count(watch, result)
    if result.state == PipelineState.FAILED:
        raise MillraceError(f"{watch.runner.name} ended the job without saying why; its own log tells")


def _count(watch: StreamRun, result: Any) -> None:
    """The counts that the workers left in Beam's metrics, as far as the runner brings them."""
    for counter in result.metrics().query(MetricsFilter().with_namespace("millrace"))["counters"]:
        table, _, what = counter.key.metric.name.rpartition(".")
        if what in COUNTS:
            setattr(watch.summary.table(table), what, counter.committed or counter.attempted or 0)


def _close(watch: StreamRun) -> None:
    """The lag and the places of the tables, as they are now."""
    found = _standings(watch)
    with closing(target_of(watch.job).open()) as sink:
        names = sink.tables()
        for standing in found:
            table = watch.summary.table(standing.table)
            table.lag += standing.lag
            table.where = sink.describe(standing.table) if standing.table in names else ""
