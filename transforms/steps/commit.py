"""Stage deltas by shard, then one commit a table and window: rows, ledger and dead letters together."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import apache_beam as beam
from apache_beam.utils.windowed_value import WindowedValue

from ...schemas.errors import IncompatibleSchemaError, LedgerGapError, MillraceError
from ...schemas.merging.modes.at_commit import CompleteRows
from ...schemas.model.epoch import OnNewSource
from ...schemas.model.ledger import Account, Commit, OffsetRange, TopicPartition, covered
from ...schemas.model.modes import Mode
from ...schemas.model.route import OnSnapshot, OnTwoSources, OrderBy, Route
from ...schemas.model.source_mark import SourceMark
from ..dead_letter_limit import Limit
from ..dead_letter_reasons import most_frequent
from ..dead_letters import DeadLetterFiles
from ..retry import retried
from ..sinks import Sink
from ..sinks.target import Target
from .arrow_errors import told_of
from .block_decoders import BlockDecoders
from .decide_columns import decide_columns
from .decode import Failure, Receipt
from .ready_rows import WindowItems, ready_rows
from .snapshot_ends import SnapshotEnds, begins_again
from .stage import Part


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A commit that was made; `size` in decoded bytes, `unfilled` unavailable values that no row held, now NULL.

    The messages of a `copy` count for another table. `reason` is that of most dead letters. `replaced` rows
    were deleted since a whole snapshot does not have them; `kept` says why those of the last snapshot were not.
    `again`: a further snapshot began, which deletes nothing. `other` says what messages are that are no changes of any
    table.
    """

    table: str
    accounts: tuple[Account, ...]
    unfilled: int = 0
    size: int = 0
    copy: bool = False
    reason: str = ""
    replaced: int = 0
    kept: str = ""
    again: bool = False
    other: str = ""


Item = Part | Receipt | Failure | Outcome


class Covers(StrEnum):
    """What a commit covers: windows by arrival go whole; those by event time rows first, the ledger last."""

    WHOLE = "whole"
    ROWS = "rows"
    LEDGER = "ledger"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitSettings:
    """What commits of a run share. `routes` by table; `dead` and `read` count what the run had before.

    `format` is needed where snapshots replace what is older: it reads the log.
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
    decoders: BlockDecoders | None = None


class Apply(beam.DoFn):
    """(table, items of a window) to Outcome or Failure: one commit, or none of it.

    Windows by event time are committed in their order, at the end of the bundle: a runner hands them over in any, and
    a key change that needs a value of the old row would come after the row that took its place.
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


def _nothing_committed(sink: Sink, job: str, table: str, receipts: Sequence[Receipt]) -> bool:
    """Whether the ledger stands where these partitions were begun: what is read now are their first messages."""
    ledger = sink.ledger(job, table, sorted({receipt.span.source for receipt in receipts}))
    return all(reached == ledger.start.get(source) for source, reached in ledger.next.items())


def commit(sink: Sink, settings: CommitSettings, name: str, items: Sequence[Item]) -> Outcome:
    """Apply one table's window: dead letters become durable first, then rows and ledger in one transaction.

    What can pass, of the target and of the dead letters' store, is tried again for a while. Raises TableError,
    SinkError; then nothing of the window is in the table.
    """
    with told_of(name, "committing"):
        try:
            made = _committed(sink, settings, name, items)
        except IncompatibleSchemaError:
            tables = [item.table for item in items if isinstance(item, Part)]
            decide_columns(sink, settings.job, settings.routes[name], tables)
            raise
    return made if settings.covers is Covers.ROWS else _with_snapshots(sink, settings, made)


def _with_snapshots(sink: Sink, settings: CommitSettings, made: Outcome) -> Outcome:
    """The outcome, and what the ends of snapshots did to the table's older rows."""
    route = settings.routes[made.table]
    if route.on_snapshot is not OnSnapshot.REPLACE or route.mode is Mode.APPEND or settings.decoders is None:
        return made
    acted = SnapshotEnds(job=settings.job, route=route, decoders=settings.decoders).act(sink)
    return replace(made, replaced=acted.deleted, kept=acted.kept)


def _committed(sink: Sink, settings: CommitSettings, name: str, items: Sequence[Item]) -> Outcome:
    window = WindowItems(
        [item for item in items if isinstance(item, Receipt)], [item for item in items if isinstance(item, Part)]
    )
    letters = window.letters
    read = sum(receipt.read for receipt in window.receipts)
    if letters and len(letters) == read and _nothing_committed(sink, settings.job, name, window.receipts):
        settings.limit.check_first(read, letters)
    settings.dead_letters.write(letters)
    settings.limit.check(settings.dead + len(letters), settings.read + read, letters)
    ready = ready_rows(sink, settings.routes[name], window)
    done = ready.done
    order = _order(sink, settings, name, window, done)
    again = begins_again(sink, settings.job, settings.routes[name], order.marks)
    made = retried(f"table {name}", lambda: sink.commit(ready.table, ready.staged, order))
    return Outcome(
        table=name,
        accounts=made,
        unfilled=done.unfilled,
        size=sum(receipt.size for receipt in window.receipts),
        copy=settings.routes[name].copy,
        reason=most_frequent(letters),
        again=again,
        other=next((receipt.other for receipt in window.receipts if receipt.other), ""),
    )


def _order(sink: Sink, settings: CommitSettings, name: str, window: WindowItems, done: CompleteRows) -> Commit:
    """What the sink records with the rows."""
    route = settings.routes[name]
    truncates: Counter[int] = Counter()
    for receipt in window.receipts:
        truncates[route.number(receipt.span.topic, receipt.span.partition)] += receipt.truncates
    topics = {source.topic for source in route.sources} & set(settings.topic_ids)
    told = accounts(settings, name, window, done)
    return Commit(
        settings.job,
        told,
        newest_truncate(sink, settings.job, settings.routes[name], window.receipts),
        dict(truncates),
        {topic: settings.topic_ids[topic] for topic in topics},
        tuple(route.number(account.topic, account.partition) for account in told),
        _marks(route, window.receipts),
        follow=route.on_new_source is OnNewSource.FOLLOW,
        rewinds=route.mode is not Mode.APPEND,
        one_source=route.on_two_sources is OnTwoSources.STOP and route.mode is not Mode.APPEND,
    )


def newest_truncate(sink: Sink, job: str, route: Route, receipts: Sequence[Receipt]) -> bytes | None:
    """The position of the newest TRUNCATE, in the epoch of its offset."""
    found = [(receipt.span.source, receipt.truncate) for receipt in receipts if receipt.truncate is not None]
    if not found or not route.epochs:
        return max((position for _, position in found), default=None)
    marks = sink.ledger(job, route.table, sorted({source for source, _ in found})).marks
    return max(
        marks.get(source, SourceMark()).epochs.at(int.from_bytes(position[24:])).to_bytes(8) + position[8:]
        for source, position in found
    )


def accounts(settings: CommitSettings, name: str, window: WindowItems, done: CompleteRows) -> tuple[Account, ...]:
    """An account for each partition of the table's route, and for others that were read, before the target's guard.

    A partition without a block in this window has first == stop == -1: its ledger stays as it is. Raises
    LedgerGapError where blocks of a partition leave a hole between them.
    """
    try:
        spans = covered([receipt.span for receipt in window.receipts])
    except ValueError as error:
        raise LedgerGapError(f"table {name}: {error}; nothing was committed, run the job again") from error
    superseded: Counter[int] = Counter(done.superseded)
    shuffled: Counter[int] = Counter()
    for part in window.parts:
        superseded.update(part.superseded)
        shuffled.update(part.superseded)
        shuffled.update(part.rows)
    made, route = [], settings.routes[name]
    later = {route.source(number) for number in shuffled} | set(spans)
    for source in (*route.sources, *sorted(later - set(route.sources))):
        number = route.number(source.topic, source.partition)
        mine = [receipt for receipt in window.receipts if receipt.span.source == source]
        span = spans.get(source, OffsetRange(source.topic, source.partition, -1, -1))
        account = Account(
            *(source.topic, source.partition, span.first, span.stop),
            read=_read(settings.covers, mine, shuffled[number]),
            applied=done.applied.get(number, 0),
            superseded=superseded[number],
            filtered=sum(receipt.filtered for receipt in mine),
            dead=sum(len(receipt.letters) for receipt in mine),
        )
        made.append(account)
    return tuple(made)


def _marks(route: Route, receipts: Sequence[Receipt]) -> dict[TopicPartition, SourceMark]:
    """How far the source of each partition has come; a log of changes that is only added to has no order to lose."""
    ordered = route.order_by is OrderBy.POSITION and route.mode is not Mode.APPEND
    counts = Counter(source.topic for source in route.sources) if ordered else Counter[str]()
    marks: dict[TopicPartition, SourceMark] = {}
    for receipt in sorted(receipts, key=lambda one: one.span):
        source = receipt.span.source
        known = marks.get(source, SourceMark(partitions=counts[source.topic]))
        marks[source] = known.joined(receipt.mark)
    return marks


def _read(covers: Covers, receipts: Sequence[Receipt], shuffled: int) -> int:
    """How many records of a partition count in this commit; `shuffled` changes of it came to the table's shards."""
    if covers is Covers.ROWS:
        return shuffled
    rows = 0 if covers is Covers.WHOLE else sum(receipt.changes for receipt in receipts)
    return sum(receipt.read for receipt in receipts) - rows
