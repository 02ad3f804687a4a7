"""Loads to commits, in the order of the target's ledger, whatever the order in which a runner brings them."""

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

from ...schemas.errors import LedgerGapError, TableError, TransientSinkError
from ...schemas.model.ledger import TopicPartition
from ..sinks import Sink
from .commit import CommitSettings, Item, Outcome, commit
from .decode import Failure
from .stage import stage
from .stream_decode import PAUSES, DecodedBundle

LOGGER: Final = logging.getLogger("millrace")
GAP_SECONDS: Final = 30.0
ASK_SECONDS: Final = 1.0
AGAIN_SECONDS: Final = 1.0


@dataclass(slots=True, eq=False)
class Gate:
    """What this process knows of one table of a pipeline; the runner lets one bundle of a table run at a time."""

    next: dict[TopicPartition, int] = field(default_factory=dict)
    asked: float = 0.0
    read: int = 0
    dead: int = 0
    stopped: Failure | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """A load that waits for the offsets before it; `since` in seconds since the epoch."""

    since: float
    load: DecodedBundle


_GATES: Final[dict[tuple[str, str], Gate]] = defaultdict(Gate)
HELD: Final = beam.DoFn.StateParam(BagStateSpec("held", PickleCoder()))
AGAIN: Final = TimerSpec("again", TimeDomain.REAL_TIME)
AGAIN_AT: Final = beam.DoFn.TimerParam(AGAIN)


class StreamCommit(beam.DoFn):
    """(table, loads of a pane) to Outcome or Failure: one commit a pane, in the order of the ledger.

    Runners bring loads in any order: those whose offsets do not continue the ledger are held in the runner's state, and
    tried with the next pane or a second later. A bundle must not wait for them: a runner brings a table's panes one
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
        yield from self._settle(element[0], [Held(now, load) for load in element[1]], held, again)

    @on_timer(AGAIN)
    def try_again(
        self,
        table: Any = beam.DoFn.KeyParam,
        held: Any = HELD,
        again: Any = AGAIN_AT,
    ) -> Iterator[Outcome | Failure]:
        yield from self._settle(table, [], held, again)

    def _settle(self, table: str, fresh: Sequence[Held], held: Any, again: Any) -> Iterator[Outcome | Failure]:
        before = list(held.read())
        gate = _GATES[self._run, table]
        found, left = settle(self._sink, self._settings, table, gate, [*before, *fresh])
        if before:
            held.clear()
        for part in left:
            held.add(part)
        if left:
            again.set(time.time() + AGAIN_SECONDS)
        yield from found


def settle(
    sink: Sink, settings: CommitSettings, table: str, gate: Gate, loads: Sequence[Held]
) -> tuple[list[Outcome | Failure], list[Held]]:
    """Bring the loads that continue the ledger into the table: what was committed, and the loads that are left.

    Nothing is left where the table has stopped. Raises SinkError; nothing of the loads is committed then.
    """
    found, ready = _attempt(sink, settings, table, gate, loads)
    if not (ready or gate.next):
        found, ready = _attempt(sink, settings, table, gate, loads)
    left = [part for part in loads if part not in ready]
    if left and time.time() - min(part.since for part in left) >= GAP_SECONDS:
        return [*found, _stop(gate, Failure(table, _gap(table, settings, gate, left)))], []
    return found, left


def _attempt(
    sink: Sink, settings: CommitSettings, table: str, gate: Gate, loads: Sequence[Held]
) -> tuple[list[Outcome | Failure], Sequence[Held]]:
    """One commit, and the loads that are done by it."""
    ready = _ready(sink, settings, table, gate, loads)
    if not ready:
        return [], []
    found = _committed(sink, settings, table, gate, ready)
    return found, ready if found else []


def _ready(sink: Sink, settings: CommitSettings, table: str, gate: Gate, loads: Sequence[Held]) -> list[Held]:
    """The loads whose offsets continue the ledger, one another's among them; all, where the table stopped."""
    if gate.stopped or any(part.load.failure for part in loads):
        return list(loads)
    sources = {span.source for part in loads for span in part.load.spans}
    if not sources <= set(gate.next) or time.monotonic() - gate.asked > ASK_SECONDS:
        gate.asked = time.monotonic()
        known = sink.ledger(settings.job, table, sorted(sources | set(settings.routes[table].sources))).next
        gate.next.update(known)
    return continuing(loads, gate.next)


def continuing(loads: Sequence[Held], following: Mapping[TopicPartition, int]) -> list[Held]:
    """The largest set of loads whose offsets, joined, leave no hole behind the next offsets that are known.

    A partition without a known offset begins at the smallest one that a load has.
    """
    kept = list(loads)
    while True:
        reach: dict[TopicPartition, int] = {}
        for span in sorted(span for part in kept for span in part.load.spans):
            at = reach.setdefault(span.source, following.get(span.source, span.first))
            if span.first <= at:
                reach[span.source] = max(at, span.stop)
        fitting = [one for one in kept if all(span.first <= reach[span.source] for span in one.load.spans)]
        if len(fitting) == len(kept):
            return kept
        kept = fitting


def _committed(
    sink: Sink, settings: CommitSettings, table: str, gate: Gate, ready: Sequence[Held]
) -> list[Outcome | Failure]:
    """One commit of these loads, or the failure of the table; nothing where the gate does not know the ledger.

    That is somebody else's commit, or a table put back: the gate forgets what it knows. Raises SinkError.
    """
    failure = gate.stopped or next((part.load.failure for part in ready if part.load.failure), None)
    if failure is None:
        try:
            outcome = _patiently(sink, replace(settings, read=gate.read, dead=gate.dead), table, ready)
        except LedgerGapError:
            gate.asked, gate.next = 0.0, {}
            return []
        except TableError as error:
            failure = Failure(table, error)
    if failure is not None:
        return [_stop(gate, failure)]
    for account in outcome.accounts:
        gate.read, gate.dead = gate.read + account.read, gate.dead + account.dead
        if account.stop >= 0:
            gate.next[account.source] = max(account.stop, gate.next.get(account.source, 0))
    measure(outcome)
    return [outcome]


def _patiently(sink: Sink, settings: CommitSettings, table: str, ready: Sequence[Held]) -> Outcome:
    batches = [batch for held in ready for batch in held.load.batches()]
    for pause in (*PAUSES, None):
        try:
            items: list[Item] = [part for held in ready for part in held.load.receipts]
            if batches:
                items.append(stage(sink, settings.job, settings.routes[table], batches))
            return commit(sink, settings, table, items)
        except TransientSinkError as error:
            if pause is None:
                raise
            LOGGER.warning("table %s: %s; trying again in %.0f s", table, error, pause)
            time.sleep(pause)
    raise AssertionError("the last try returns or raises")


def _gap(table: str, settings: CommitSettings, gate: Gate, left: Sequence[Held]) -> LedgerGapError:
    spans = sorted(span for part in left for span in part.load.spans)
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
        for what in ("read", "applied", "superseded", "filtered", "dead"):
            Metrics.counter("millrace", f"{done.table}.{what}").inc(getattr(account, what))
        if account.stop >= 0:
            Metrics.gauge("millrace", f"{account.source}.committed").set(account.stop)
