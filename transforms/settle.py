"""Loads to commits, in the order of the target's ledger, whatever the order in which a runner brings them."""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import apache_beam as beam
from apache_beam.metrics.metric import Metrics
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

from ..schemas.errors import LedgerGapError, MillraceError, TableError, TransientSinkError
from ..schemas.ledger import TopicPartition
from .apply import CommitSettings, Item, Outcome, commit, stage
from .decode import Failure
from .loads import PAUSES, Load
from .sinks import Sink

LOGGER: Final = logging.getLogger("millrace")
GAP_SECONDS: Final = 30.0
ASK_SECONDS: Final = 1.0


@dataclass(slots=True, eq=False)
class Waiting:
    """A load that a bundle has brought: `done` when it is in the target, or `failed`."""

    load: Load
    done: bool = False
    failed: Exception | None = None


@dataclass(slots=True, eq=False)
class Gate:
    """The loads of one table that this process holds; one thread at a time commits, for itself and for the others."""

    waiting: list[Waiting] = field(default_factory=list)
    next: dict[TopicPartition, int] = field(default_factory=dict)
    asked: float = 0.0
    read: int = 0
    dead: int = 0
    stopped: Failure | None = None
    turn: threading.Condition = field(default_factory=threading.Condition)


_GATES: Final[dict[tuple[str, str], Gate]] = defaultdict(Gate)


class CommitLoads(beam.DoFn):
    """(table, loads of a pane) to Outcome or Failure: at the end of each bundle one commit a table, or a few.

    A bundle ends when all its loads are in the target. One whose offsets do not continue the ledger waits for those
    between, which another thread may bring; after `GAP_SECONDS` the gap is the table's failure, with the offsets named.
    A failed table stays as it is, and the others go on. A target that is away is waited for, then TransientSinkError is
    raised, so that the runner brings the bundle again: what is in the target already is refused by its guard.
    `run` names the pipeline, so that two in one process do not meet.
    """

    def __init__(self, settings: CommitSettings, run: str) -> None:
        self._settings = settings
        self._run = run

    def setup(self) -> None:
        self._sink = self._settings.target.open()

    def teardown(self) -> None:
        self._sink.close()

    def start_bundle(self) -> None:
        self._brought: dict[str, list[Load]] = defaultdict(list)

    def process(self, element: tuple[str, Iterable[Load]], window: Any = beam.DoFn.WindowParam) -> None:
        self._window = window
        self._brought[element[0]] += element[1]

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for table, loads in self._brought.items():
            gate = _GATES[self._run, table]
            for outcome in settle(self._sink, self._settings, table, gate, loads):
                yield WindowedValue(outcome, MIN_TIMESTAMP, (self._window,))


def settle(
    sink: Sink, settings: CommitSettings, table: str, gate: Gate, loads: Sequence[Load]
) -> list[Outcome | Failure]:
    """Bring the loads into the table; what this thread committed, loads of other threads among it."""
    mine = [Waiting(load) for load in loads]
    found: list[Outcome | Failure] = []
    deadline = time.monotonic() + GAP_SECONDS
    with gate.turn:
        gate.waiting += mine
        try:
            while not all(waiting.done for waiting in mine):
                failed = next((waiting.failed for waiting in mine if waiting.failed), None)
                if failed is not None:
                    raise failed
                ready = _ready(sink, settings, table, gate)
                if ready:
                    found += _committed(sink, settings, table, gate, ready)
                    gate.turn.notify_all()
                elif time.monotonic() >= deadline:
                    _stop(gate, Failure(table, _gap(table, settings, gate, mine)))
                else:
                    gate.turn.wait(0.2)
        finally:
            gate.waiting = [waiting for waiting in gate.waiting if waiting not in mine]
    return found


def _ready(sink: Sink, settings: CommitSettings, table: str, gate: Gate) -> list[Waiting]:
    """The waiting loads whose offsets continue the ledger, one another's among them; all, where the table stopped."""
    open_loads = [waiting for waiting in gate.waiting if not (waiting.done or waiting.failed)]
    if gate.stopped or any(waiting.load.failure for waiting in open_loads):
        return open_loads
    sources = {span.source for waiting in open_loads for span in waiting.load.spans}
    if not sources <= set(gate.next) or time.monotonic() - gate.asked > ASK_SECONDS:
        gate.asked = time.monotonic()
        known = sink.ledger(settings.job, table, sorted(sources | set(settings.routes[table].sources))).next
        gate.next.update(known)
    return continuing(open_loads, gate.next)


def continuing(loads: Sequence[Waiting], following: Mapping[TopicPartition, int]) -> list[Waiting]:
    """The largest set of loads whose offsets, joined, leave no hole behind the next offsets that are known.

    A partition without a known offset begins at the smallest one that a load has.
    """
    kept = list(loads)
    while True:
        reach: dict[TopicPartition, int] = {}
        for span in sorted(span for waiting in kept for span in waiting.load.spans):
            at = reach.setdefault(span.source, following.get(span.source, span.first))
            if span.first <= at:
                reach[span.source] = max(at, span.stop)
        fitting = [one for one in kept if all(span.first <= reach[span.source] for span in one.load.spans)]
        if len(fitting) == len(kept):
            return kept
        kept = fitting


def _committed(
    sink: Sink, settings: CommitSettings, table: str, gate: Gate, ready: Sequence[Waiting]
) -> list[Outcome | Failure]:
    """One commit of these loads; they are done then, also where the table fails by it. Raises SinkError."""
    failure = gate.stopped or next((waiting.load.failure for waiting in ready if waiting.load.failure), None)
    outcome: Outcome | None = None
    try:
        if failure is None:
            outcome = _patiently(sink, replace(settings, read=gate.read, dead=gate.dead), table, ready)
    except LedgerGapError:
        # Somebody else's commit, or a table put back: the ledger is asked again, and the loads wait.
        gate.asked, gate.next = 0.0, {}
        gate.turn.wait(0.2)
        return []
    except TableError as error:
        failure = Failure(table, error)
    except MillraceError as error:
        for waiting in ready:
            waiting.failed = error
        gate.turn.notify_all()
        raise
    for waiting in ready:
        waiting.done = True
    if outcome is None:
        return [_stop(gate, failure)] if failure is not None else []
    for account in outcome.accounts:
        gate.read, gate.dead = gate.read + account.read, gate.dead + account.dead
        if account.stop >= 0:
            gate.next[account.source] = max(account.stop, gate.next.get(account.source, 0))
    measure(outcome)
    return [outcome]


def _patiently(sink: Sink, settings: CommitSettings, table: str, ready: Sequence[Waiting]) -> Outcome:
    batches = [batch for waiting in ready for batch in waiting.load.batches()]
    for pause in (*PAUSES, None):
        try:
            items: list[Item] = [part for waiting in ready for part in waiting.load.receipts]
            if batches:
                items.append(stage(sink, table, batches))
            return commit(sink, settings, table, items)
        except TransientSinkError as error:
            if pause is None:
                raise
            LOGGER.warning("table %s: %s; trying again in %.0f s", table, error, pause)
            time.sleep(pause)
    raise AssertionError("the last try returns or raises")


def _gap(table: str, settings: CommitSettings, gate: Gate, mine: Sequence[Waiting]) -> LedgerGapError:
    spans = sorted(span for waiting in mine for span in waiting.load.spans)
    first = next((span for span in spans if gate.next.get(span.source, span.first) < span.first), spans[0])
    return LedgerGapError(
        f"table {table}, job {settings.job}: the ledger of {first.source} stands at {gate.next.get(first.source)}, but "
        f"what the runner brings begins at {first.first}; nothing was committed: start the job anew, without a "
        "savepoint, and it resumes from the ledger"
    )


def _stop(gate: Gate, failure: Failure) -> Failure:
    if gate.stopped is None:
        gate.stopped = failure
        LOGGER.error("table %s stops here, the others go on: %s", failure.table, failure.error)
    return failure


def measure(done: Outcome) -> None:
    """Beam metrics of a commit: counters by table, and how far each partition is committed."""
    for account in done.accounts:
        for what in ("read", "applied", "superseded", "filtered", "dead", "skipped"):
            Metrics.counter("millrace", f"{done.table}.{what}").inc(getattr(account, what))
        if account.stop >= 0:
            Metrics.gauge("millrace", f"{account.source}.committed").set(account.stop)
