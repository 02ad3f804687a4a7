"""A job's reading and applying as transforms of a pipeline of one's own, with batches of changes between them."""

import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime

import apache_beam as beam
import pyarrow as pa
from apache_beam.io.unbounded_source import ReadFromUnboundedSource
from apache_beam.pvalue import PBegin, PCollection

from ...schemas.model.route import Route
from ...transforms.dead_letters import DeadLetterFiles
from ...transforms.sources.bounded import BoundedRead
from ...transforms.sources.source import PartitionSpan
from ...transforms.steps.accounted_changes import ReadAccounted, TakeAccounted
from ...transforms.steps.commit import CommitSettings, Outcome
from ...transforms.steps.decode import RECEIPTS, Failure
from ..job.model import Job
from .graph import JobGraph, Windows, apply
from .job_decoders import decoders_of
from .job_parts import source_of, target_of
from .start_offsets import ReadPlan, anchor, by_table, find_read_plan, find_routes, with_epochs

Changes = tuple[str, pa.RecordBatch]
"""A table's name, and changes of it: the row's columns, then Millrace's (`schemas.model.change`)."""


@dataclass(frozen=True, slots=True)
class _Now:
    """Where a job stands, asked while the pipeline is built."""

    routes: Mapping[str, Route]
    plan: ReadPlan


def _ask(job: Job) -> _Now:
    """Raises SourceError, SinkError, JobError; and what makes one of the tables unable to go on."""
    with closing(source_of(job).connect()) as connection, closing(target_of(job).open()) as sink:
        routes = find_routes(job, connection)
        plan = find_read_plan(job, connection, sink, routes)
        for error in plan.lost.values():
            raise error
        anchor(job, sink, routes, plan)
        return _Now(with_epochs(routes, plan), plan)


class ReadChanges(beam.PTransform[PBegin, PCollection[Changes]]):
    """The changes of a job from where its target stands to the end that its source has now: (table, record batch).

    Every change is there, in the source's order within its partition. A step between this and `ApplyChanges` may change
    values, add columns and take rows out. It gives one batch back for each, with the metadata of the batch's schema,
    which tells what its block came to. Raises JobError, SourceError, SinkError while the pipeline is built.
    """

    def __init__(self, job: Job) -> None:
        super().__init__()
        self._job = job

    def expand(self, begin: PBegin) -> PCollection[Changes]:
        now, decoders, stamp = _ask(self._job), decoders_of(self._job), time.time()
        spans = [
            PartitionSpan(source.topic, source.partition, first, now.plan.end[source], stamp)
            for source, first in sorted(now.plan.next.items())
            if first < now.plan.end[source]
        ]
        read = ReadFromUnboundedSource(BoundedRead(decoders.source, spans), max_read_time_seconds=2)
        blocks = begin | "Read blocks" >> read
        blocks.is_bounded = True
        return blocks | "Decode" >> beam.ParDo(ReadAccounted(now.routes, decoders)).with_output_types(Changes)


class ApplyChanges(beam.PTransform[PCollection[Changes], PCollection[Outcome]]):
    """Commits the changes of `ReadChanges`: rows, ledger and dead letters together, one commit a table and window.

    Rows that were filtered out are accounted as filtered. A table that cannot go on ends the pipeline with its error;
    nothing of its commit is applied, and the next run begins again before it.
    """

    def __init__(self, job: Job) -> None:
        super().__init__()
        self._job = job

    def expand(self, changes: PCollection[Changes]) -> PCollection[Outcome]:
        job, now = self._job, _ask(self._job)
        letters = DeadLetterFiles(job.dead_letters, job.job, datetime.now(UTC))
        letters.open()
        windows = Windows(every=job.window.every.total_seconds(), by_event=job.window.by == "event")
        decoders = decoders_of(job)
        graph = JobGraph(
            routes=now.routes,
            decoders=decoders,
            commits=CommitSettings(
                job=job.job,
                routes=by_table(now.routes),
                target=target_of(job),
                dead_letters=letters,
                limit=job.max_dead_letters,
                topic_ids=now.plan.topic_ids,
                decoders=decoders,
            ),
            windows=windows,
        )
        every = round(windows.every * 1000) if windows.by_event else None
        take = beam.ParDo(TakeAccounted(graph.shards, every))
        outcomes = apply(changes | "Take receipts" >> take.with_outputs(RECEIPTS, main="changes"), graph)
        return outcomes | "Raise failures" >> beam.Map(_raised).with_output_types(Outcome)


def _raised(done: Outcome | Failure) -> Outcome:
    """The outcome; raises the error of a failure."""
    if isinstance(done, Failure):
        raise done.error
    return done
