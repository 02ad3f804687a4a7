"""Decoded bundles to commits, in the order of the target's ledger, whatever the order in which a runner brings them."""

import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import apache_beam as beam
from apache_beam.coders import PickleCoder
from apache_beam.metrics.metric import Metrics
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import BagStateSpec, TimerSpec, on_timer

from ...schemas.errors import CommitAgainError, LedgerGapError, MillraceError, TableError
from ...schemas.model.ledger import TopicPartition
from ..retry import PATIENT, Retry, retried
from ..sinks import Sink
from ..stop_notes import StopNote, StopNotes
from .commit import CommitSettings, Item, Outcome, commit
from .decode import Failure
from .stage import stage
from .stream_decode import DecodedBundle

LOGGER: Final = logging.getLogger("millrace")
GAP_SECONDS: Final = 30.0
ASK_SECONDS: Final = 1.0
AGAIN_SECONDS: Final = 1.0


@dataclass(slots=True, eq=False)
class TableProgress:
    """What this process knows of one table of a pipeline; the runner lets one bundle of a table run at a time."""

    next: dict[TopicPartition, int] = field(default_factory=dict)
    asked: float = 0.0
    read: int = 0
    dead: int = 0
    epochs: bool = False
    stopped: Failure | None = None


@dataclass(frozen=True, slots=True, eq=False)
class WaitingBundle:
    """A decoded bundle that waits for the offsets before it; `since` in seconds since the epoch."""

    since: float
    bundle: DecodedBundle


_PROGRESS: Final[dict[tuple[str, str], TableProgress]] = defaultdict(TableProgress)
HELD: Final = beam.DoFn.StateParam(BagStateSpec("held", PickleCoder()))
AGAIN: Final = TimerSpec("again", TimeDomain.REAL_TIME)
AGAIN_AT: Final = beam.DoFn.TimerParam(AGAIN)


class StreamCommit(beam.DoFn):
    """(table, bundles of a pane) to Outcome or Failure: one commit a pane, in the order of the ledger.

    Runners bring them in any order. Those whose offsets do not continue the ledger are held in the runner's state, and
    tried with the next pane or a second later. `process` must not wait for them: a runner brings a table's panes one
    after the other. After `GAP_SECONDS` the gap is the table's failure, with the offsets named; a failed table stays as
    it is, and the others go on. A target that is away is waited for, then TransientSinkError is raised, so that the
    runner brings the bundle again: what is in the target already is refused by its guard. Needs the global window,
    since state is kept by window. `run` names the pipeline, so that two in one process do not meet.
    """

    def __init__(self, settings: CommitSettings, run: str) -> None:
        self._settings = settings
        self._run = run

    def setup(self) -> None:
        self._settings.dead_letters.open()
        self._sink = self._settings.target.open()

    def teardown(self) -> None:
        self._sink.close()

    def process(
        self,
        element: tuple[str, Iterable[DecodedBundle]],
        held: Any = HELD,
        again: Any = AGAIN_AT,
    ) -> Iterator[Outcome | Failure]:
        now = time.time()
        yield from self._commit_ready(element[0], [WaitingBundle(now, bundle) for bundle in element[1]], held, again)

    @on_timer(AGAIN)
    def try_again(
        self,
        table: Any = beam.DoFn.KeyParam,
        held: Any = HELD,
        again: Any = AGAIN_AT,
    ) -> Iterator[Outcome | Failure]:
        yield from self._commit_ready(table, [], held, again)

    def _commit_ready(
        self, table: str, fresh: Sequence[WaitingBundle], held: Any, again: Any
    ) -> Iterator[Outcome | Failure]:
        before = list(held.read())
        progress = _PROGRESS[self._run, table]
        done, left = commit_ready(self._sink, self._settings, table, progress, [*before, *fresh])
        if before:
            held.clear()
        for part in left:
            held.add(part)
        if left:
            again.set(time.time() + AGAIN_SECONDS)
        yield from done


def commit_ready(
    sink: Sink, settings: CommitSettings, table: str, progress: TableProgress, bundles: Sequence[WaitingBundle]
) -> tuple[list[Outcome | Failure], list[WaitingBundle]]:
    """Bring the bundles that continue the ledger into the table: what was committed, and the bundles that are left.

    Nothing is left where the table has stopped. Raises SinkError; nothing of the bundles is committed then.
    """
    done, ready = _attempt(sink, settings, table, progress, bundles)
    if not (ready or progress.next):
        done, ready = _attempt(sink, settings, table, progress, bundles)
    left = [part for part in bundles if part not in ready]
    if left and time.time() - min(part.since for part in left) >= GAP_SECONDS:
        return [*done, _stop(settings, progress, Failure(table, _gap(table, settings, progress, left)))], []
    return done, left


def _attempt(
    sink: Sink, settings: CommitSettings, table: str, progress: TableProgress, bundles: Sequence[WaitingBundle]
) -> tuple[list[Outcome | Failure], Sequence[WaitingBundle]]:
    """One commit, and the bundles that are done by it."""
    ready = _ready(sink, settings, table, progress, bundles)
    if not ready:
        return [], []
    done = _committed(sink, settings, table, progress, ready)
    return done, ready if done else []


def _ready(
    sink: Sink, settings: CommitSettings, table: str, progress: TableProgress, bundles: Sequence[WaitingBundle]
) -> list[WaitingBundle]:
    """The bundles whose offsets continue the ledger, one another's among them; all, where the table stopped."""
    if progress.stopped or any(part.bundle.failure for part in bundles):
        return list(bundles)
    sources = {span.source for part in bundles for span in part.bundle.spans}
    if not sources <= set(progress.next) or time.monotonic() - progress.asked > ASK_SECONDS:
        progress.asked = time.monotonic()
        ledger = sink.ledger(settings.job, table, sorted(sources | set(settings.routes[table].sources)))
        progress.next.update(ledger.next)
        progress.epochs |= any(mark.epochs.begins for mark in ledger.marks.values())
    return continuing(bundles, progress.next)


def continuing(bundles: Sequence[WaitingBundle], following: Mapping[TopicPartition, int]) -> list[WaitingBundle]:
    """The largest set of bundles whose offsets, joined, leave no hole behind the next offsets that are known.

    A partition without a known offset begins at the smallest one that a bundle has.
    """
    kept = list(bundles)
    while True:
        reach: dict[TopicPartition, int] = {}
        for span in sorted(span for part in kept for span in part.bundle.spans):
            at = reach.setdefault(span.source, following.get(span.source, span.first))
            if span.first <= at:
                reach[span.source] = max(at, span.stop)
        fitting = [one for one in kept if all(span.first <= reach[span.source] for span in one.bundle.spans)]
        if len(fitting) == len(kept):
            return kept
        kept = fitting


def _committed(
    sink: Sink, settings: CommitSettings, table: str, progress: TableProgress, ready: Sequence[WaitingBundle]
) -> list[Outcome | Failure]:
    """One commit of these bundles, or the failure of the table; nothing where `progress` and the ledger differ.

    That is somebody else's commit, a table put back, or a new epoch. `progress` forgets what it knows. Raises
    SinkError.
    """
    failure = progress.stopped or next((part.bundle.failure for part in ready if part.bundle.failure), None)
    if failure is None:
        try:
            route = replace(settings.routes[table], epochs=progress.epochs)
            counted = replace(settings, read=progress.read, dead=progress.dead, routes={table: route})
            outcome = _commit_with_retries(sink, counted, table, ready)
        except (LedgerGapError, CommitAgainError):
            progress.asked, progress.next = 0.0, {}
            return []
        except TableError as error:
            failure = Failure(table, error)
    if failure is not None:
        return [_stop(settings, progress, failure)]
    for account in outcome.accounts:
        progress.read, progress.dead = progress.read + account.read, progress.dead + account.dead
        if account.stop >= 0:
            progress.next[account.source] = max(account.stop, progress.next.get(account.source, 0))
    measure(outcome)
    return [outcome]


def _commit_with_retries(sink: Sink, settings: CommitSettings, table: str, ready: Sequence[WaitingBundle]) -> Outcome:
    batches = [batch for held in ready for batch in held.bundle.batches()]

    def attempt() -> Outcome:
        items: list[Item] = [part for held in ready for part in held.bundle.receipts]
        if batches:
            items.append(stage(sink, settings.job, settings.routes[table], batches))
        return commit(sink, settings, table, items)

    return retried(f"table {table}", attempt, Retry(PATIENT))


def _gap(
    table: str, settings: CommitSettings, progress: TableProgress, left: Sequence[WaitingBundle]
) -> LedgerGapError:
    spans = sorted(span for part in left for span in part.bundle.spans)
    first = next((span for span in spans if progress.next.get(span.source, span.first) < span.first), spans[0])
    known = progress.next.get(first.source)
    return LedgerGapError(
        f"table {table}, job {settings.job}: the ledger of {first.source} stands at {known}, but "
        f"what the runner brings begins at {first.first}; nothing was committed: start the job anew, without a "
        "savepoint, and it resumes from the ledger"
    )


def _stop(settings: CommitSettings, progress: TableProgress, failure: Failure) -> Failure:
    if progress.stopped is None:
        progress.stopped = failure
        LOGGER.error("table %s stops here, the others go on: %s", failure.table, failure.error)
        letters = settings.dead_letters
        try:
            StopNotes(letters.address, letters.job).write(StopNote.of(failure.table, failure.error, progress.next))
        except MillraceError as error:
            LOGGER.warning("that table %s stopped could not be noted beside the dead letters: %s", failure.table, error)
    return failure


def measure(done: Outcome) -> None:
    """Beam metrics of a commit: counters by table, and how far each partition is committed."""
    for account in done.accounts:
        for what in ("read", "applied", "superseded", "filtered", "dead"):
            Metrics.counter("millrace", f"{done.table}.{what}").inc(getattr(account, what))
        if account.stop >= 0:
            Metrics.gauge("millrace", f"{account.source}.committed").set(account.stop)
