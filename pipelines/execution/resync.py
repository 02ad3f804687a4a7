"""A table is built again beside the live one, and takes its place in one step.

The live table may go on being written by a run. What is built reads up to where the live table is, and only then takes
its place; where a run was faster, it reads on. A killed resync leaves the live table as it is, and is taken up again.
"""

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, TypeVar

import pyarrow as pa

from ...schemas.errors import LedgerGapError, TableError
from ...schemas.model.ledger import Account, Commit, OffsetRange, TopicPartition
from ...schemas.model.table import Table
from ...transforms.dead_letter_marks import LetterMark, State, write_mark
from ...transforms.resync_notes import ResyncNote, ResyncNotes
from ...transforms.retry import BETWEEN, Retry, retried
from ...transforms.sinks import Sink
from ...transforms.sinks.shared.resync import Resyncing, Swap
from ...transforms.steps.arrow_errors import told_of
from ...transforms.stop_notes import StopNotes
from ..job.model import Job
from .job_parts import source_of, target_of
from .older_rows import OlderRows
from .progress import Progress
from .resync_plan import Older, ResyncPlan
from .run_passes import run
from .start_offsets import find_routes
from .summary import COUNTS, TableSummary

TRIES: Final = 20
"""How often what was built reads on after a run that was faster."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResyncResult:
    """`built` are the counts of what was read now; `carried` are older rows. `stopped`: it is not done, by a signal."""

    built: TableSummary
    carried: int = 0
    stopped: bool = False


def resync(job: Job, plan: ResyncPlan, progress: Progress) -> ResyncResult:
    """Build, swap, clean up. Raises TableError, SinkError, SourceError where it cannot; the live table is as it was."""
    if plan.refusal is not None:
        raise TableError(plan.refusal)
    return _Resync(job, plan, progress).done()


@dataclass(slots=True)
class _Resync:
    job: Job
    plan: ResyncPlan
    progress: Progress
    carried: int = 0

    @property
    def notes(self) -> ResyncNotes:
        return ResyncNotes(self.job.dead_letters, self.job.job)

    @property
    def keeps(self) -> bool:
        """Whether rows are carried over."""
        return self.plan.loses and self.plan.older is Older.KEEP

    def done(self) -> ResyncResult:
        built = TableSummary(table=self.plan.table)
        note = self.plan.note
        if self.plan.swapped and note is not None:
            self._clean(note)
            return ResyncResult(built=built)
        note = note or self._asked(self._begin)
        for _ in range(TRIES):
            stopped = self._build(built)
            if stopped:
                return ResyncResult(built=built, stopped=True)
            try:
                self._asked(partial(self._swap, note))
            except LedgerGapError:
                self.progress.note(f"table {self.plan.table}: a run was faster; reading on")
                continue
            self._clean(note)
            return ResyncResult(built=built, carried=self.carried)
        raise TableError(
            f"table {self.plan.table}: a run was faster {TRIES} times; nothing was swapped: stop it, then resync again"
        )

    def _asked(self, work: Callable[[Sink], _T]) -> _T:
        """Do this with the target; one that a run has open is waited for."""

        def attempt() -> _T:
            with closing(target_of(self.job).open()) as sink:
                return work(sink)

        return retried(f"table {self.plan.table}", attempt, Retry(BETWEEN))

    def _begin(self, sink: Sink) -> ResyncNote:
        """An empty table beside, whose ledger stands where the log begins. What an earlier try has left goes."""
        plan, job = self.plan, self.job
        assert isinstance(sink, Resyncing)
        note = ResyncNote(table=plan.table, settings=plan.settings, starts=plan.starts)
        self.notes.clear(plan.table)
        sink.drop(plan.beside.name)
        accounts = tuple(Account(s.topic, s.partition, first, first) for s, first in sorted(plan.starts.items()))
        marks = {} if plan.lost or plan.copied else plan.live.marks
        seeds = {source: mark.anew(plan.starts[source]) for source, mark in marks.items() if source in plan.starts}
        commit = Commit(job.job, accounts, topic_ids=plan.topic_ids, seeds=seeds)
        sink.commit(Table(plan.beside.name, (), pa.schema([])), [], commit)
        self.notes.begin(note)
        return note

    def _build(self, built: TableSummary) -> bool:
        """Up to the end of this moment; whether it was told to stop before. Raises TableError."""
        beside = self.plan.beside
        if self.keeps:
            beside = replace(beside, stops=self._asked(self._reached))
        once = partial(run, self.job, once=True, progress=self.progress, beside=beside)
        found = retried(f"table {beside.name}", once, Retry(BETWEEN)).table(beside.name)
        for name in (*COUNTS, "unfilled"):
            setattr(built, name, getattr(built, name) + getattr(found, name))
        if found.error is not None:
            said = found.error.removeprefix(f"table {beside.name}: ")
            raise TableError(f"table {self.plan.table}: it could not be built again, and is as it was: {said}")
        return found.lag > 0

    def _reached(self, sink: Sink) -> Mapping[TopicPartition, int]:
        return sink.ledger(self.job.job, self.plan.table, sorted(self.plan.starts)).next

    def _swap(self, note: ResyncNote, sink: Sink) -> None:
        """Carry older rows over, then swap. Raises LedgerGapError where a run was faster."""
        plan, name = self.plan, self.plan.beside.name
        assert isinstance(sink, Resyncing)
        if self.keeps:
            self._carry(sink)
        sources = self._sources()
        self.notes.swaps(plan.table)
        older = {source: plan.live.start.get(source, 0) for source in note.starts} if self.keeps else {}
        wanted = Swap(
            job=self.job.job,
            table=plan.table,
            beside=name,
            sources=sources,
            starts=note.starts,
            lost=plan.lost,
            older=older,
        )
        sink.swap(wanted)

    def _carry(self, sink: Sink) -> None:
        """The live table must have seen the very same changes: so its older versions are ended, and values compare."""
        plan, sources = self.plan, sorted(self.plan.starts)
        live, built = (sink.ledger(self.job.job, name, sources).next for name in (plan.table, plan.beside.name))
        if live != built:
            raise LedgerGapError(f"table {plan.table}: it is not where {plan.beside.name} is")
        rows = OlderRows(sink, plan.table, plan.beside.name)
        with told_of(plan.table, "carrying older rows over"):
            self.carried += rows.carry(self.job.job)
            rows.check_values()

    def _sources(self) -> tuple[TopicPartition, ...]:
        """The partitions that there are now."""
        with closing(source_of(self.job)) as source, closing(source.connect()) as connection:
            routes = self.plan.beside.routes(find_routes(self.job, connection))
        return tuple(sorted({source for route in routes.values() for source in route.sources}))

    def _clean(self, note: ResyncNote) -> None:
        """After the swap: letters of before count as read again, and nothing is left beside."""
        plan, job = self.plan, self.job

        def left(sink: Sink) -> tuple[OffsetRange, ...]:
            assert isinstance(sink, Resyncing)
            sink.drop(plan.beside.name)
            next = sink.ledger(job.job, plan.table, sorted(note.starts)).next
            spans = ((source, first, next.get(source, first)) for source, first in sorted(note.starts.items()))
            return tuple(OffsetRange(s.topic, s.partition, first, stop) for s, first, stop in spans if first < stop)

        ranges = self._asked(left)
        write_mark(job.dead_letters, job.job, LetterMark(state=State.READ_AGAIN, ranges=ranges, until=note.since))
        StopNotes(job.dead_letters, job.job).clear(plan.table)
        self.notes.clear(plan.table)
