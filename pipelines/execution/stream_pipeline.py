"""A job as one endless pipeline, for the runners that stream: Prism, Flink, Dataflow."""

import uuid
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from ...schemas.errors import SourceError
from ...transforms.dead_letters import DeadLetterFiles
from ...transforms.sources.stream import StreamRead, StreamSettings
from ...transforms.steps.commit import CommitSettings
from ...transforms.steps.outcome_queue import OutcomeQueue
from ..job.model import Job
from .graph import JobGraph, Windows, build_stream
from .job_decoders import decoders_of
from .job_parts import source_of, target_of
from .start_offsets import LedgerStartOffsets, by_table, routes_of


def topics_of(job: Job) -> tuple[str, ...]:
    """The topics that a stream of the job reads: as listed, else those that match now. Raises SourceError."""
    if job.source.topics:
        return tuple(sorted(job.source.topics))
    source = source_of(job)
    with closing(source.connect()) as connection:
        found = connection.topics((), job.source.topic_pattern)
    if not found:
        raise SourceError(f"no topic at {source.where} matches source.topic_pattern: {job.source.topic_pattern}")
    return tuple(sorted(found))


def stream_graph(job: Job, topics: Sequence[str]) -> JobGraph:
    """The steps' settings. Only a topic's first partition is named: the others are found where the job runs."""
    routes, decoders = routes_of(job, {topic: [0] for topic in topics}), decoders_of(job)
    commits = CommitSettings(
        job=job.job,
        routes=by_table(routes),
        target=target_of(job),
        dead_letters=DeadLetterFiles(job.dead_letters, job.job, datetime.now(UTC)),
        limit=job.max_dead_letters,
        decoders=decoders,
    )
    windows = Windows(
        every=job.window.every.total_seconds(),
        by_event=job.window.by == "event",
        lateness=job.window.allowed_lateness.total_seconds(),
    )
    return JobGraph(routes=routes, decoders=decoders, commits=commits, windows=windows)


def assemble(
    job: Job, options: PipelineOptions, topics: Sequence[str], post: str | None = None, by_timer: bool = False
) -> beam.Pipeline:
    """The pipeline, not run yet; nothing is asked of source or target.

    `post` names where outcomes are posted in this process (`transforms.outcomes`), for runners whose workers are here.
    """
    by_event = job.window.by == "event"
    graph = stream_graph(job, topics)
    settings = StreamSettings(
        graph.decoders.source,
        tuple(topics),
        job.source.topic_pattern,
        by_event,
        job.window.allowed_lateness.total_seconds(),
    )
    pipeline = beam.Pipeline(options=options)
    read = StreamRead(settings, LedgerStartOffsets(job, tuple(topics)))
    outcomes = build_stream(pipeline, replace(graph, by_timer=by_timer and not by_event), read, uuid.uuid4().hex)
    if post is not None:
        _ = outcomes | "Post outcomes" >> beam.ParDo(OutcomeQueue(post))
    return pipeline
