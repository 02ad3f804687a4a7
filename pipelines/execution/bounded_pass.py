"""Passes: bounded stretches of the topics, one small pipeline each, with a commit a table at its end."""

import ctypes
import re
import shutil
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from ...schemas.errors import MillraceError
from ...schemas.model.ledger import OffsetRange, TopicPartition
from ...transforms.sources.bounded import BoundedRead
from ...transforms.sources.source import PartitionSpan
from ...transforms.steps.commit import Outcome
from ...transforms.steps.decode import Failure
from ...transforms.steps.outcome_queue import OutcomeQueue, collect
from .graph import JobGraph, build

M_TRIM_THRESHOLD: Final = -1
M_MMAP_THRESHOLD: Final = -3

FEWEST: Final = 100_000
MOST: Final = 1_000_000
BYTES: Final = 256 << 20
"""Decoded bytes that one pass should come to: what it holds in memory is about twice that."""

STEP: Final = re.compile(r" \[while running '[^']*'\]$")
"""What Beam appends to the text of an exception that leaves a DoFn."""


@dataclass(slots=True)
class PassSizer:
    """How many offsets the next pass may cover; grows to what `BYTES` of decoded changes allow."""

    offsets: int = field(default_factory=lambda: FEWEST)

    def learn(self, offsets: int, size: int) -> None:
        """After a pass that covered `offsets` and decoded `size` bytes."""
        if offsets:
            fitting = int(BYTES * offsets / max(size, 1))
            self.offsets = max(1_000, min(fitting, 10 * self.offsets, MOST))


@dataclass(frozen=True, slots=True)
class OffsetProgress:
    """Where reading stands and where it ends, by partition: `next` moves up to `end`."""

    next: dict[TopicPartition, int] = field(default_factory=dict)
    end: Mapping[TopicPartition, int] = field(default_factory=dict)

    @property
    def left(self) -> int:
        return sum(max(0, self.end[source] - self.next[source]) for source in self.next)

    def pass_of(self, offsets: int) -> list[OffsetRange]:
        """The next ranges of all partitions, in proportion to what each has left, so that they stay side by side."""
        left = self.left
        share = min(1.0, offsets / left) if left else 0.0
        ranges = []
        for source, first in sorted(self.next.items()):
            wanted = -int(-(self.end[source] - first) * share // 1)
            if wanted > 0:
                ranges.append(OffsetRange(source.topic, source.partition, first, min(first + wanted, self.end[source])))
        return ranges


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


def run_pass(ranges: Sequence[OffsetRange], graph: JobGraph) -> PassResult:
    """Run one pipeline over the ranges on the FnApiRunner of this process.

    All blocks bear one time stamp, so the pass is one window by arrival. Raises what the source raises, and what
    opening the target does; other failures are of one table.
    """
    started = time.time()
    spans = [PartitionSpan(part.topic, part.partition, part.first, part.stop, started) for part in ranges]
    name = uuid.uuid4().hex
    read = BoundedRead(graph.format.source, spans)
    pipeline = beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([]))
    try:
        _ = build(pipeline, graph, read) | "Post outcomes" >> beam.ParDo(OutcomeQueue(name))
        pipeline.run().wait_until_finish()
    except MillraceError as error:
        error.args = (STEP.sub("", str(error)),)
        raise
    finally:
        shutil.rmtree(pipeline.local_tempdir, ignore_errors=True)
        posted = collect(name)
    return PassResult(
        tuple(item for item in posted if isinstance(item, Outcome)),
        tuple(item for item in posted if isinstance(item, Failure)),
        time.time() - started,
    )
