"""The sync pipeline: blocks in, one commit a table and window out. Wiring only."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import apache_beam as beam
import pyarrow as pa
from apache_beam.io.unbounded_source import ReadFromUnboundedSource, UnboundedSource
from apache_beam.pvalue import PCollection
from apache_beam.transforms.window import FixedWindows, GlobalWindows

from ..schemas.block import Block
from ..schemas.decoding import Route
from ..transforms.apply import Apply, CommitSettings, Covers, Item, Outcome, Stage
from ..transforms.batches import RecordBatchCoder
from ..transforms.decode import RECEIPTS, Cut, Decode, Failure, Format

Shard = tuple[str, int]

POLL_SECONDS: Final = 0.1
BUNDLE_SECONDS: Final = 0.5
SLACK_SECONDS: Final = 60.0
"""Nothing is late by construction; what a mistake there would drop is kept, for this long."""

__all__ = ["RecordBatchCoder", "Sync", "Windows", "build"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Fixed windows of `every` seconds, by the time blocks are read (`arrival`) or by the changes' own (`event`).

    `lateness` in seconds is for runners that stream; a bounded pass sees every change before its windows close.
    """

    every: float = 10.0
    by_event: bool = False
    lateness: float = 0.0

    def fixed(self) -> beam.WindowInto:
        return beam.WindowInto(FixedWindows(self.every), allowed_lateness=self.lateness + SLACK_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sync:
    """All that one pipeline needs; `routes` by topic, `commits.routes` by table. `bounded`: all spans have an end."""

    routes: Mapping[str, Route]
    format: Format
    commits: CommitSettings
    windows: Windows
    shards: int = 1
    bounded: bool = True

    @property
    def cut(self) -> Cut | None:
        """How changes are stamped."""
        if self.bounded and not self.windows.by_event:
            return None
        return Cut(every=round(self.windows.every * 1000), by_event=self.windows.by_event, live=not self.bounded)


def build(pipeline: beam.Pipeline, sync: Sync, source: UnboundedSource) -> PCollection[Outcome | Failure]:
    """Read, decode, window, shuffle by shard, compact, stage, commit; gives what each commit came to.

    A change of a step's name loses the state of running jobs: they are updated and restored by it.
    """
    decode = beam.ParDo(Decode(sync.routes, sync.format, sync.shards, sync.cut))
    decoded = _blocks(pipeline, sync, source) | "Decode" >> decode.with_outputs(RECEIPTS, main="changes")
    parts = (
        decoded["changes"]
        | "Type changes" >> beam.Map(_same).with_output_types(tuple[Shard, pa.RecordBatch])
        | "Window changes" >> sync.windows.fixed()
        | "Group by shard" >> beam.GroupByKey()
        | "Compact and stage"
        >> beam.ParDo(Stage(sync.commits.target, not sync.bounded)).with_output_types(tuple[str, Item])
    )
    receipts = decoded[RECEIPTS] | "Type receipts" >> beam.Map(_same).with_output_types(tuple[str, Item])
    if not sync.windows.by_event:
        windowed = receipts | "Window receipts" >> sync.windows.fixed()
        return _commit("window", (parts, windowed), sync.commits)
    rows = _commit("rows", (parts,), replace(sync.commits, covers=Covers.ROWS))
    if sync.bounded:
        # One ledger entry behind all windows, since all close together, in any order.
        rows = rows | "Forget windows" >> beam.WindowInto(GlobalWindows())
    else:
        receipts = receipts | "Window receipts" >> sync.windows.fixed()
    done = rows | "Name outcomes" >> beam.Map(lambda outcome: (outcome.table, outcome)).with_output_types(
        tuple[str, Item]
    )
    ledger = _commit("ledger", (done, receipts), replace(sync.commits, covers=Covers.LEDGER))
    return (rows, ledger) | "All outcomes" >> beam.Flatten()


def _blocks(pipeline: beam.Pipeline, sync: Sync, source: UnboundedSource) -> PCollection[Block]:
    if sync.bounded:
        blocks = pipeline | "Read blocks" >> ReadFromUnboundedSource(source, max_read_time_seconds=2)
        blocks.is_bounded = True
        return blocks
    read = ReadFromUnboundedSource(source, poll_interval=POLL_SECONDS, max_read_time_seconds=BUNDLE_SECONDS)
    # Without a shuffle behind it, the source's bundles would hold copies of all that follows until a checkpoint.
    return pipeline | "Read blocks" >> read | "Spread blocks" >> beam.Reshuffle().with_output_types(Block)


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
