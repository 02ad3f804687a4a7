"""Passes: bounded stretches of the topics, one small pipeline each, with a commit a table at its end."""

import ctypes
import re
import shutil
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from ...schemas.errors import MillraceError
from ...schemas.model.ledger import OffsetRange
from ...schemas.model.route import Route
from ...transforms.dead_letters import DeadLetterFiles
from ...transforms.sinks.target import Target
from ...transforms.sources.bounded import BoundedRead
from ...transforms.sources.source import PartitionSpan
from ...transforms.steps.commit import CommitSettings, Outcome
from ...transforms.steps.decode import Failure
from ...transforms.steps.outcome_queue import OutcomeQueue, collect
from ..job.model import Job
from .graph import JobGraph, Windows, build
from .job_decoders import decoders_of
from .remembered_beam import remembering
from .start_offsets import by_table
from .summary import Summary

M_TRIM_THRESHOLD: Final = -1
M_MMAP_THRESHOLD: Final = -3

STEP: Final = re.compile(r" \[while running '[^']*'\]$")
"""What Beam appends to the text of an exception that leaves a DoFn."""


@dataclass(frozen=True, slots=True)
class PassResult:
    """What a pass came to; `seconds` from start to the last commit."""

    outcomes: tuple[Outcome, ...]
    failures: tuple[Failure, ...]
    seconds: float

    @property
    def size(self) -> int:
        """Bytes of the changes that were decoded."""
        return sum(outcome.size for outcome in self.outcomes)


def keep_memory() -> None:
    """Have glibc keep large buffers instead of giving each back to the kernel: a fifth of a pass went into page faults.

    The peak does not grow, since the next pass needs the same again. Without glibc it does nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
            mallopt(parameter, 1 << 30)


class Passes:
    """The passes of one run: what they share is made once."""

    def __init__(self, job: Job, target: Target, dead_letters: DeadLetterFiles) -> None:
        keep_memory()
        self._job, self._target, self._dead_letters = job, target, dead_letters
        self._decoders = decoders_of(job)

    def graph(self, routes: Mapping[str, Route], topic_ids: Mapping[str, int], done: Summary) -> JobGraph:
        """What the next pass does to these topics; `done` is what the run came to before it."""
        window = self._job.window
        return JobGraph(
            routes=routes,
            decoders=self._decoders,
            commits=CommitSettings(
                job=self._job.job,
                routes=by_table(routes),
                target=self._target,
                dead_letters=self._dead_letters,
                limit=self._job.max_dead_letters,
                dead=done.total("dead"),
                read=done.total("read"),
                topic_ids=topic_ids,
                decoders=self._decoders,
            ),
            windows=Windows(
                every=window.every.total_seconds(),
                by_event=window.by == "event",
                lateness=window.allowed_lateness.total_seconds(),
            ),
        )


def run_pass(ranges: Sequence[OffsetRange], graph: JobGraph) -> PassResult:
    """Run one pipeline over the ranges on the FnApiRunner of this process.

    All blocks bear one time stamp, so the pass is one window by arrival. Raises what the source raises, and what
    opening the target does; other failures are of one table.
    """
    started = time.time()
    name = uuid.uuid4().hex
    try:
        with remembering():
            _run(ranges, graph, started, name)
    except MillraceError as error:
        error.args = (STEP.sub("", str(error)),)
        raise
    finally:
        posted = collect(name)
    return PassResult(
        tuple(item for item in posted if isinstance(item, Outcome)),
        tuple(item for item in posted if isinstance(item, Failure)),
        time.time() - started,
    )


def _run(ranges: Sequence[OffsetRange], graph: JobGraph, started: float, name: str) -> None:
    """Build the pipeline and run it to its end; outcomes are posted under `name`."""
    spans = [PartitionSpan(part.topic, part.partition, part.first, part.stop, started) for part in ranges]
    pipeline = beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([]))
    try:
        read = BoundedRead(graph.decoders.source, spans)
        _ = build(pipeline, graph, read) | "Post outcomes" >> beam.ParDo(OutcomeQueue(name))
        pipeline.run().wait_until_finish()
    finally:
        shutil.rmtree(pipeline.local_tempdir, ignore_errors=True)
