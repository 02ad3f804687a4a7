"""Stage deltas by shard, then one commit a table and window: rows, ledger and dead letters together."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.utils.windowed_value import WindowedValue

from ...schemas.errors import LedgerGapError, MillraceError
from ...schemas.model.ledger import Account, Commit, TopicPartition, covered
from ...schemas.model.route import Route
from ...schemas.model.source_mark import SourceMark
from ...schemas.model.table import Table
from ..dead_letters import DeadLetterFiles, Limit, most_frequent
from ..retry import retried
from ..sinks import Sink
from ..sinks.target import Target
from .decode import Failure, Receipt
from .resolve_from_target import Finished, finished, settled
from .stage import Part


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A commit that was made; `size` in decoded bytes, `unfilled` unavailable values that no row held, now NULL.

    The messages of a `copy` count for another table. `reason` is that of most dead letters.
    """

    table: str
    accounts: tuple[Account, ...]
    unfilled: int = 0
    size: int = 0
    copy: bool = False
    reason: str = ""


Item = Part | Receipt | Failure | Outcome


class Covers(StrEnum):
    """What a commit covers: windows by arrival go whole; those by event time rows first, the ledger last."""

    WHOLE = "whole"
    ROWS = "rows"
    LEDGER = "ledger"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitSettings:
    """What commits of a run share. `routes` by table; `dead` and `read` count what the run had before."""

    job: str
    routes: Mapping[str, Route]
    target: Target
    dead_letters: DeadLetterFiles
    limit: Limit = field(default_factory=Limit)
    dead: int = 0
    read: int = 0
    topic_ids: Mapping[str, int] = field(default_factory=dict)
    covers: Covers = Covers.WHOLE


class Apply(beam.DoFn):
    """(table, items of a window) to Outcome or Failure: one commit, or none of it.

    Windows by event time are committed in their order, at the end of the bundle: a runner hands them over in any, and
    a key change that needs a value of the old row would come behind the row that took its place.
    """

    def __init__(self, settings: CommitSettings) -> None:
        self._settings = settings

    def setup(self) -> None:
        self._sink = self._settings.target.open()

    def teardown(self) -> None:
        self._sink.close()

    def start_bundle(self) -> None:
        self._windows: list[tuple[Any, str, list[Item]]] = []

    def process(
        self, element: tuple[str, Iterable[Item]], window: Any = beam.DoFn.WindowParam
    ) -> Iterator[Outcome | Failure]:
        name, items = element[0], list(element[1])
        if self._settings.covers is Covers.ROWS:
            self._windows.append((window, name, items))
        else:
            yield self._applied(name, items)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for window, name, items in sorted(self._windows, key=lambda one: one[0].end):
            yield WindowedValue(self._applied(name, items), window.max_timestamp(), (window,))

    def _applied(self, name: str, items: Sequence[Item]) -> Outcome | Failure:
        failed = next((item for item in items if isinstance(item, Failure)), None)
        if failed is not None:
            return failed
        try:
            return commit(self._sink, self._settings, name, items)
        except MillraceError as error:
            return Failure(name, error)


def commit(sink: Sink, settings: CommitSettings, name: str, items: Sequence[Item]) -> Outcome:
    """Apply one table's window: dead letters become durable first, then rows and ledger in one transaction.

    Transient errors of the target and of the dead letters' store are retried with back-off. Raises TableError,
    SinkError; then nothing of the window is in the table.
    """
    receipts = [item for item in items if isinstance(item, Receipt)]
    parts = [item for item in items if isinstance(item, Part)]
    letters = sorted(
        (letter for receipt in receipts for letter in receipt.letters),
        key=lambda letter: (letter.topic, letter.partition, letter.offset),
    )
    read = sum(receipt.read for receipt in receipts)
    if letters and len(letters) == read and name not in sink.tables():
        settings.limit.check_first(read, letters)
    settings.dead_letters.write(letters)
    settings.limit.check(settings.dead + len(letters), settings.read + read, letters)
    staged = [part.staged for part in parts if part.staged.rows]
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
        _marks(receipts),
    )
    size = sum(receipt.size for receipt in receipts)
    made = retried(f"table {table.name}", lambda: sink.commit(table, staged, order))
    return Outcome(
        table=name, accounts=made, unfilled=unfilled, size=size, copy=route.copy, reason=most_frequent(letters)
    )


def _key(parts: Sequence[Part]) -> tuple[str, ...]:
    return parts[0].table.key if parts else ()


def _marks(receipts: Sequence[Receipt]) -> dict[TopicPartition, SourceMark]:
    """How far the source of each partition has come."""
    marks: dict[TopicPartition, SourceMark] = {}
    for receipt in sorted(receipts, key=lambda one: one.span):
        source = receipt.span.source
        marks[source] = marks.get(source, SourceMark()).joined(receipt.mark)
    return marks


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
                dead=sum(len(receipt.letters) for receipt in mine),
            )
        )
    return tuple(settled)
