"""Blocks cut by windows: each piece lies in one, and the pieces of a partition come to them in the order of offsets."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.transforms.trigger import AfterProcessingTime

from ...schemas.model.block import Block
from ..sources.source import Source


class Elapsed(AfterProcessingTime):
    """Beam's trigger with a delay in parts of a second, which its own can say to no runner."""

    def __init__(self, delay: float) -> None:
        AfterProcessingTime.__init__(self, delay)

    def to_runner_api(self, context: Any) -> beam_runner_api_pb2.Trigger:
        """The trigger in milliseconds."""
        found = AfterProcessingTime(0).to_runner_api(context)
        found.after_processing_time.timestamp_transforms[0].delay.delay_millis = round(self.delay * 1000)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Windows of `every` milliseconds, by the time when a block was read or by the event time its partition reached."""

    every: int
    source: Source
    by_event: bool = False

    def pieces(self, block: Block, time: float) -> Iterator[tuple[float, Block]]:
        """The block as pieces of whole offset ranges, each with the start of its window, in seconds.

        `time` is the block's time stamp, in seconds. By arrival it tells the window. By event time it is what the
        partition had reached before; a record is in the window of the newest time up to it, at most `block.reached`. So
        a record that comes late goes with the window that is open then: none is dropped, and a window's commit covers
        a contiguous range of offsets.
        """
        if not self.by_event or block.reached is None:
            yield self._start(round(time * 1000)), block
            return
        # By record, in ascending offsets: its offset, and the newest time that its partition had come to with it.
        offsets, times = self.source.times(block)
        before = max(-(1 << 62), round(time * 1000))
        reached = np.maximum.accumulate(np.clip(times, min(before, block.reached), block.reached))
        windows = reached // self.every
        edges = np.flatnonzero(np.diff(windows)) + 1
        starts = [block.first, *offsets[edges].tolist()]
        found = [*windows[edges - 1].tolist(), block.reached // self.every]
        for window, piece in zip(found, self.source.cut(block, starts), strict=True):
            yield window * self.every / 1000, piece

    def _start(self, time: int) -> float:
        return time // self.every * self.every / 1000
