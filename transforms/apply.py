"""Stage deltas by shard, then one commit a table and window: rows, ledger and dead letters together."""

import logging
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

import apache_beam as beam
import pyarrow as pa
from apache_beam.metrics.metric import Metrics

from ..schemas.change import SOURCE
from ..schemas.decoding import Route
from ..schemas.errors import LedgerGapError, MillraceError, TableError, TransientSinkError
from ..schemas.ledger import Account, Commit, covered
from ..schemas.secrets import resolved
from ..schemas.table import Table
from .compact import compact
from .dead_letters import DeadLetterFiles, Limit
from .decode import Failure, Receipt
from .finish import Finished, finished, settled, split
from .gather import superseded_before, table_key
from .sinks import Sink, Staged, open_sink

LOGGER: Final = logging.getLogger("millrace")
RETRIES: Final = (0.2, 0.5, 1.0, 2.0, 5.0)
LIVE_PAUSES: Final = (5.0, 10.0, *(30.0 for _ in range(20)))
GAP_SECONDS: Final = 30.0
_TURNS: Final[dict[str, threading.Lock]] = defaultdict(threading.Lock)
"""By table: a runner whose workers are threads of one process may hand over two windows of a table at once."""


@dataclass(frozen=True, slots=True)
class Target:
    """A sink to open in a worker: the job file's `target`, secrets still as references."""

    type: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def open(self) -> Sink:
        return open_sink(self.type, resolved(self.options))


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one shard of a table and window came to; `rows` counts the staged rows by source number.

    While a job is live the rows travel in `delta` instead of `staged`: a savepoint then holds them, where a file would
    have to outlive it. `late` are rows that the commit finishes.
    """

    table: Table
    staged: Staged | None = None
    delta: pa.RecordBatch | None = None
    rows: Mapping[int, int]
    superseded: Mapping[int, int]
    requests: pa.RecordBatch | None
    departures: pa.RecordBatch | None
    late: pa.RecordBatch | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A commit that was made; `size` in decoded bytes, `unfilled` unavailable values that no row held, now NULL.

    The messages of a `copy` count for another table.
    """

    table: str
    accounts: tuple[Account, ...]
    unfilled: int = 0
    size: int = 0
    copy: bool = False


Item = Part | Receipt | Failure | Outcome


class Covers(StrEnum):
    """What a commit covers: windows by arrival go whole; those by event time rows first, the ledger last."""

    WHOLE = "whole"
    ROWS = "rows"
    LEDGER = "ledger"


class Stage(beam.DoFn):
    """((table, shard), changes of a window) to (table, Part or Failure); while the job is `live` nothing is staged."""

    def __init__(self, target: Target, live: bool = False) -> None:
        self._target = target
        self._live = live
        self._sink: Sink | None = None

    def setup(self) -> None:
        self._sink = None if self._live else self._target.open()

    def teardown(self) -> None:
        if self._sink is not None:
            self._sink.close()

    def process(self, element: tuple[tuple[str, int], Iterable[pa.RecordBatch]]) -> Iterator[tuple[str, Item]]:
        (name, _), batches = element[0], list(element[1])
        try:
            yield name, stage(self._sink, name, batches)
        except MillraceError as error:
            yield name, Failure(name, error)


def stage(sink: Sink | None, name: str, batches: Sequence[pa.RecordBatch]) -> Part:
    """Compact the changes of one shard and stage its delta, if there is a sink. Raises TableError, SinkError."""
    done = compact(name, table_key(batches[0]), batches)
    rows, superseded = _counted(done.delta), Counter(done.superseded)
    for batch in batches:
        superseded.update(superseded_before(batch))
    if done.requests is not None:
        rows.update(_counted(done.requests))
    now, late = split(done.table, done.delta)
    return Part(
        table=done.table,
        staged=None if sink is None else sink.stage(done.table, now),
        delta=now if sink is None else None,
        rows={number: count for number, count in rows.items() if number >= 0},
        superseded=superseded,
        requests=done.requests,
        departures=done.departures,
        late=late,
    )


def _counted(delta: pa.RecordBatch) -> Counter[int]:
    counts = delta.column(SOURCE).value_counts()
    return Counter(dict(zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True)))


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitSettings:
    """What commits of a run share. `routes` by table; `dead` and `read` count what the run had before.

    A `live` job waits long for a target that is away, then raises, so that the runner takes the window up again.
    """

    job: str
    routes: Mapping[str, Route]
    target: Target
    dead_letters: DeadLetterFiles
    limit: Limit = field(default_factory=Limit)
    dead: int = 0
    read: int = 0
    topic_ids: Mapping[str, int] = field(default_factory=dict)
    covers: Covers = Covers.WHOLE
    live: bool = False


class Apply(beam.DoFn):
    """(table, items of a window) to Outcome or Failure: one commit, or none of it.

    A table that failed in a live job stays as it is: this worker commits nothing more of it, and where another one
    tries, the ledger shows the gap.
    """

    def __init__(self, settings: CommitSettings) -> None:
        self._settings = settings
        self._stopped: dict[str, Failure] = {}

    def setup(self) -> None:
        self._sink = self._settings.target.open()

    def teardown(self) -> None:
        self._sink.close()

    def process(self, element: tuple[str, Iterable[Item]]) -> Iterator[Outcome | Failure]:
        name, items = element[0], list(element[1])
        failed = self._stopped.get(name) or next((item for item in items if isinstance(item, Failure)), None)
        if failed is not None:
            yield self._stop(failed)
            return
        try:
            done = self._committed(name, items)
        except MillraceError as error:
            if self._settings.live and not isinstance(error, TableError):
                raise
            yield self._stop(Failure(name, error))
            return
        measure(done)
        if self._settings.live and not done.copy:
            self._settings = replace(
                self._settings,
                read=self._settings.read + sum(account.read for account in done.accounts),
                dead=self._settings.dead + sum(account.dead for account in done.accounts),
            )
        yield done

    def _committed(self, name: str, items: Sequence[Item]) -> Outcome:
        pauses = list(LIVE_PAUSES if self._settings.live else ())
        deadline = time.monotonic() + (GAP_SECONDS if self._settings.live else 0.0)
        while True:
            try:
                with _TURNS[name]:
                    return commit(self._sink, self._settings, name, items)
            except LedgerGapError:
                # A runner may hand over the windows of a table out of order, by a moment.
                if time.monotonic() >= deadline:
                    raise
                time.sleep(0.2)
            except TransientSinkError as error:
                if not pauses:
                    raise
                LOGGER.warning("table %s: %s; trying again in %.0f s", name, error, pauses[0])
                time.sleep(pauses.pop(0))

    def _stop(self, failed: Failure) -> Failure:
        if self._settings.live and failed.table not in self._stopped:
            self._stopped[failed.table] = failed
            LOGGER.error("table %s stops here, the others go on: %s", failed.table, failed.error)
        return failed


def measure(done: Outcome) -> None:
    """Beam metrics of a commit: counters by table, and how far each partition is committed."""
    for account in done.accounts:
        for what in ("read", "applied", "superseded", "filtered", "dead", "skipped"):
            Metrics.counter("millrace", f"{done.table}.{what}").inc(getattr(account, what))
        if account.stop >= 0:
            Metrics.gauge("millrace", f"{account.source}.committed").set(account.stop)


def commit(sink: Sink, settings: CommitSettings, name: str, items: Sequence[Item]) -> Outcome:
    """Apply one table's window: dead letters become durable first, then rows and ledger in one transaction.

    Transient errors of the target are retried with back-off. Raises TableError, SinkError; then nothing of the
    window is in the table.
    """
    receipts = [item for item in items if isinstance(item, Receipt)]
    parts = [item for item in items if isinstance(item, Part)]
    letters = sorted(
        (letter for receipt in receipts for letter in receipt.letters),
        key=lambda letter: (letter.topic, letter.partition, letter.offset),
    )
    settings.dead_letters.write(letters)
    read = settings.read + sum(receipt.read for receipt in receipts)
    settings.limit.check(settings.dead + len(letters), read, letters)
    staged = [part for part in (_staged(sink, part) for part in parts) if part.rows]
    waiting = [(part.table, part.requests) for part in parts if part.requests is not None]
    late, unfilled = settled(sink, waiting, [part.departures for part in parts if part.departures is not None])
    done = finished(sink, [*late, *((part.table, part.late) for part in parts if part.late is not None)])
    staged += [sink.stage(table, rows) for table, rows in done.rows]
    route = settings.routes[name]
    table = staged[0].table if staged else Table(name, _key(parts), pa.schema([]))
    told = accounts(settings, name, (receipts, parts), done)
    order = Commit(
        settings.job,
        told,
        max((receipt.truncate for receipt in receipts if receipt.truncate), default=None),
        _truncates(route, receipts),
        {
            source.topic: settings.topic_ids[source.topic]
            for source in route.sources
            if source.topic in settings.topic_ids
        },
        tuple(route.number(account.topic, account.partition) for account in told),
    )
    size = sum(receipt.size for receipt in receipts)
    made = _retried(sink, table, staged, order)
    return Outcome(table=name, accounts=made, unfilled=unfilled, size=size, copy=route.copy)


def _staged(sink: Sink, part: Part) -> Staged:
    if part.staged is not None:
        return part.staged
    return Staged(part.table, "", 0) if part.delta is None else sink.stage(part.table, part.delta)


def _key(parts: Sequence[Part]) -> tuple[str, ...]:
    return parts[0].table.key if parts else ()


def _truncates(route: Route, receipts: Sequence[Receipt]) -> dict[int, int]:
    counts: Counter[int] = Counter()
    for receipt in receipts:
        counts[route.number(receipt.span.topic, receipt.span.partition)] += receipt.truncates
    return dict(counts)


def accounts(
    settings: CommitSettings, name: str, window: tuple[Sequence[Receipt], Sequence[Part]], done: Finished
) -> tuple[Account, ...]:
    """An account for each partition of the table's route, and for others that were read, before the target's guard.

    A partition without a block in this window has first == stop == -1: its ledger stays as it is. Raises
    LedgerGapError where blocks of a partition leave a hole between them.
    """
    receipts, parts = window
    try:
        spans = covered([receipt.span for receipt in receipts])
    except ValueError as error:
        raise LedgerGapError(f"table {name}: {error}; nothing was committed, run the job again") from error
    superseded: Counter[int] = Counter(done.superseded)
    shuffled: Counter[int] = Counter()
    for part in parts:
        superseded.update(part.superseded)
        shuffled.update(part.superseded)
        shuffled.update(part.rows)
    settled = []
    route = settings.routes[name]
    later = {route.source(number) for number in shuffled} | set(spans)
    for source in (*route.sources, *sorted(later - set(route.sources))):
        number = route.number(source.topic, source.partition)
        mine = [receipt for receipt in receipts if receipt.span.source == source]
        span = spans.get(source)
        read = {
            Covers.WHOLE: sum(receipt.read for receipt in mine),
            Covers.ROWS: shuffled[number],
            Covers.LEDGER: sum(receipt.read - receipt.changes for receipt in mine),
        }[settings.covers]
        settled.append(
            Account(
                source.topic,
                source.partition,
                -1 if span is None else span.first,
                -1 if span is None else span.stop,
                read=read,
                applied=done.applied.get(number, 0),
                superseded=superseded[number],
                filtered=sum(receipt.filtered for receipt in mine),
                dead=sum(receipt.dead for receipt in mine),
            )
        )
    return tuple(settled)


def _retried(sink: Sink, table: Table, staged: Sequence[Staged], order: Commit) -> tuple[Account, ...]:
    for pause in RETRIES:
        try:
            return sink.commit(table, staged, order)
        except TransientSinkError as error:
            LOGGER.warning("table %s: %s; trying again in %s s", table.name, error, pause)
            time.sleep(pause)
    return sink.commit(table, staged, order)
