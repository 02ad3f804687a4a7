"""The sync pipelines: blocks in, one commit a table and window out. Wiring only."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import apache_beam as beam
import pyarrow as pa
from apache_beam.io.unbounded_source import ReadFromUnboundedSource, UnboundedSource
from apache_beam.pvalue import PCollection
from apache_beam.transforms.trigger import AccumulationMode, Repeatedly
from apache_beam.transforms.window import FixedWindows, GlobalWindows

from ...schemas.model.block import Block
from ...schemas.model.route import Route
from ...transforms.coders import RecordBatchCoder
from ...transforms.sources.timer_read import ReadByTimer
from ...transforms.steps.block_decoders import BlockDecoders
from ...transforms.steps.commit import Apply, CommitSettings, Covers, Item, Outcome
from ...transforms.steps.decode import RECEIPTS, Decode, Failure
from ...transforms.steps.stage import Stage
from ...transforms.steps.stream_commit import StreamCommit
from ...transforms.steps.stream_decode import DecodedBundle, StreamDecode
from ...transforms.steps.windows import Cut, Elapsed

Shard = tuple[str, int]

BUNDLE_SECONDS: Final = 0.1
SELDOM_SECONDS: Final = 1.0
LATENESS_SECONDS: Final = 600.0

__all__ = ["JobGraph", "RecordBatchCoder", "Windows", "build", "build_stream"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Fixed windows of `every` seconds, by the time blocks are read (`arrival`) or by the changes' own (`event`).

    `lateness` in seconds is for runners that stream; a bounded pass sees every change before its windows close.
    """

    every: float = 10.0
    by_event: bool = False
    lateness: float = 0.0

    def live(self) -> beam.WindowInto:
        """By event time as `fixed`. By arrival panes of `every` seconds, cut by the clock of the runner.

        Those have no need of a watermark, and nothing is late to them. On Flink a watermark leaves a source that is
        busy at checkpoints only (runner 2.62: its next bundle has begun before it is looked at).
        """
        if self.by_event:
            return beam.WindowInto(FixedWindows(self.every), allowed_lateness=LATENESS_SECONDS)
        return beam.WindowInto(
            GlobalWindows(),
            trigger=Repeatedly(Elapsed(self.every)),
            accumulation_mode=AccumulationMode.DISCARDING,
        )

    def fixed(self) -> beam.WindowInto:
        return beam.WindowInto(FixedWindows(self.every), allowed_lateness=self.lateness)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobGraph:
    """All that one pipeline needs; `routes` by topic, `commits.routes` by table; `by_timer` for Flink, by arrival."""

    routes: Mapping[str, Route]
    decoders: BlockDecoders
    commits: CommitSettings
    windows: Windows
    shards: int = 1
    by_timer: bool = False


def build_stream(
    pipeline: beam.Pipeline, graph: JobGraph, source: UnboundedSource, run: str
) -> PCollection[Outcome | Failure]:
    """Read for ever, decode, window, commit; gives what each commit came to. `run` names the pipeline.

    A change of a step's name loses the state of running jobs: they are updated and restored by it. The shuffle behind
    the source keeps its bundles from holding copies of all that follows until a checkpoint. Nothing is dropped as late
    before `LATENESS_SECONDS`, and what came later than that would be seen as a gap in the ledger.
    """
    cut = Cut(every=round(graph.windows.every * 1000), source=graph.decoders.source, by_event=graph.windows.by_event)
    # Windows by event time close seconds later anyway, and each read may leave something in a runner's state.
    pause = SELDOM_SECONDS if graph.windows.by_event else BUNDLE_SECONDS
    read: beam.PTransform[Any, PCollection[Block]] = (
        ReadByTimer(source, pause, pause)
        if graph.by_timer
        else ReadFromUnboundedSource(source, poll_interval=pause, max_read_time_seconds=pause)
    )
    decode = beam.ParDo(StreamDecode(graph.routes, graph.decoders, cut))
    return (
        pipeline
        | "Read blocks" >> read
        | "Spread blocks" >> beam.Reshuffle().with_output_types(Block)
        | "Decode" >> decode.with_output_types(tuple[str, DecodedBundle])
        | "Window" >> graph.windows.live()
        | "Group by table" >> beam.GroupByKey()
        | "Forget windows" >> beam.WindowInto(GlobalWindows())
        | "Commit" >> beam.ParDo(StreamCommit(graph.commits, run)).with_output_types(Outcome | Failure)
    )


def build(pipeline: beam.Pipeline, graph: JobGraph, source: UnboundedSource) -> PCollection[Outcome | Failure]:
    """Read, decode, window, shuffle by shard, merge, stage, commit; gives what each commit came to."""
    blocks = pipeline | "Read blocks" >> ReadFromUnboundedSource(source, max_read_time_seconds=2)
    blocks.is_bounded = True
    every = round(graph.windows.every * 1000) if graph.windows.by_event else None
    decode = beam.ParDo(Decode(graph.routes, graph.decoders, graph.shards, every))
    return apply(blocks | "Decode" >> decode.with_outputs(RECEIPTS, main="changes"), graph)


def apply(decoded: Any, graph: JobGraph) -> PCollection[Outcome | Failure]:
    """Window, shuffle, merge, stage and commit what a step like `Decode` gives: `changes`, and `RECEIPTS`."""
    parts = (
        decoded["changes"]
        | "Type changes" >> beam.Map(_same).with_output_types(tuple[Shard, pa.RecordBatch])
        | "Window changes" >> graph.windows.fixed()
        | "Group by shard" >> beam.GroupByKey()
        | "Compact and stage"
        >> beam.ParDo(Stage(graph.commits.target, graph.commits.job, graph.commits.routes)).with_output_types(
            tuple[str, Item]
        )
    )
    receipts = decoded[RECEIPTS] | "Type receipts" >> beam.Map(_same).with_output_types(tuple[str, Item])
    if not graph.windows.by_event:
        windowed = receipts | "Window receipts" >> graph.windows.fixed()
        return _commit("window", (parts, windowed), graph.commits)
    by_window = _commit("rows", (parts,), replace(graph.commits, covers=Covers.ROWS))
    rows = by_window | "Forget windows" >> beam.WindowInto(GlobalWindows())
    done = rows | "Name outcomes" >> beam.Map(lambda outcome: (outcome.table, outcome)).with_output_types(
        tuple[str, Item]
    )
    ledger = _commit("ledger", (done, receipts), replace(graph.commits, covers=Covers.LEDGER))
    return (rows, ledger) | "All outcomes" >> beam.Flatten()


def _commit(
    what: str, items: tuple[PCollection[tuple[str, Item]], ...], settings: CommitSettings
) -> PCollection[Outcome | Failure]:
    return (
        items
        | f"Gather {what}" >> beam.Flatten()
        | f"Group {what} by table" >> beam.GroupByKey()
        | f"Commit {what}" >> beam.ParDo(Apply(settings)).with_output_types(Outcome | Failure)
    )


def _same(element: Any) -> Any:
    return element
