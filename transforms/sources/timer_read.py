"""An endless source read by a timer, for Flink: Beam's splittable reads make its state grow with each bundle.

Beam's Flink runner keeps what a bundle leaves unread under a state name of its own and never forgets the name
(apache/beam#27648): with a few bundles a second a TaskManager of 640 MB was full after 17 minutes. Here the same
readers are driven by a stateful DoFn, whose state has two names for ever. Watermarks stay where the stream began, so
it is for windows that are cut by the clock.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import apache_beam as beam
from apache_beam.coders import Coder, PickleCoder
from apache_beam.io.unbounded_source import CheckpointMark, ReadFromUnboundedSource, UnboundedReader, UnboundedSource
from apache_beam.pvalue import PBegin, PCollection
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import MIN_TIMESTAMP, Timestamp

from ...schemas.model.block import Block
from .stream import MarkCoder

SPLITS: Final = 20
REST_SECONDS: Final = 3600.0
"""How often the splits are asked whether there are more: each time leaves a name in Flink's state."""
SOURCE: Final = beam.DoFn.StateParam(ReadModifyWriteStateSpec("source", PickleCoder()))
MARK: Final = beam.DoFn.StateParam(ReadModifyWriteStateSpec("mark", MarkCoder()))
NEXT: Final = TimerSpec("next", TimeDomain.REAL_TIME)
NEXT_AT: Final = beam.DoFn.TimerParam(NEXT)


class ReadByTimer(beam.PTransform[PBegin, PCollection[Block]]):
    """Blocks of an unbounded source, as Beam's own read gives them; `pause` and `bundle` in seconds.

    A reader gives blocks for `bundle` seconds, or until it has none; then its mark goes to the runner's state, and
    `pause` passes. The places are restored with that state, at any parallelism.
    """

    def __init__(self, source: UnboundedSource, pause: float, bundle: float) -> None:
        super().__init__()
        self._source, self._pause, self._bundle = source, pause, bundle

    def expand(self, begin: PBegin) -> PCollection[Block]:
        splits = begin | "Split" >> ReadFromUnboundedSource(Splits(self._source), poll_interval=REST_SECONDS)
        named = splits | "Name" >> beam.Map(_named).with_output_types(tuple[str, Any])
        return named | "Poll" >> beam.ParDo(Poll(self._pause, self._bundle)).with_output_types(Block)


def _named(split: tuple[str, UnboundedSource]) -> tuple[str, UnboundedSource]:
    return split


@dataclass(frozen=True, slots=True)
class Rest(CheckpointMark):
    """The splits that were not given yet; None where nothing was split so far."""

    splits: tuple[tuple[str, UnboundedSource], ...] | None = None


class Splits(UnboundedSource):
    """The splits of a source, each once, under names of their own; then nothing, for ever.

    It does not end, and its watermark stays: Beam would end the state and the timers of what reads the splits.
    """

    def __init__(self, source: UnboundedSource) -> None:
        self._source = source

    def split(self, desired_num_splits: int, options: Any = None) -> list[UnboundedSource]:
        return [self]

    def create_reader(self, options: Any, checkpoint_mark: CheckpointMark | None) -> UnboundedReader:
        rest = checkpoint_mark.splits if isinstance(checkpoint_mark, Rest) else None
        return SplitsReader(self._source, rest)

    def get_checkpoint_mark_coder(self) -> Coder:
        return PickleCoder()

    def default_output_coder(self) -> Coder:
        return PickleCoder()


class SplitsReader(UnboundedReader):
    """Splits the source when it starts, where no mark says what is left of that."""

    def __init__(self, source: UnboundedSource, rest: tuple[tuple[str, UnboundedSource], ...] | None) -> None:
        self._source, self._rest = source, rest
        self._current: tuple[str, UnboundedSource] | None = None

    def start(self) -> bool:
        if self._rest is None:
            self._rest = tuple((f"{number}", part) for number, part in enumerate(self._source.split(SPLITS)))
        return self.advance()

    def advance(self) -> bool:
        if not self._rest:
            self._current = None
            return False
        self._current, *rest = self._rest
        self._rest = tuple(rest)
        return True

    def get_current(self) -> tuple[str, UnboundedSource]:
        if self._current is None:
            raise ValueError("there is no current split")
        return self._current

    def get_current_timestamp(self) -> Timestamp:
        return MIN_TIMESTAMP

    def get_watermark(self) -> Timestamp:
        return MIN_TIMESTAMP

    def get_checkpoint_mark(self) -> Rest:
        return Rest(self._rest)

    def close(self) -> None:
        """Nothing is open."""


class Poll(beam.DoFn):
    """(name, split) to blocks, for ever."""

    def __init__(self, pause: float, bundle: float) -> None:
        self._pause, self._bundle = pause, bundle

    def process(
        self, element: tuple[str, UnboundedSource], source: Any = SOURCE, following: Any = NEXT_AT
    ) -> Iterator[Any]:
        source.write(element[1])
        following.set(time.time())
        yield from ()

    @on_timer(NEXT)
    def read(self, source: Any = SOURCE, mark: Any = MARK, following: Any = NEXT_AT) -> Iterator[Any]:
        reader = source.read().create_reader(None, mark.read())
        try:
            deadline = time.monotonic() + self._bundle
            there = reader.start()
            while there:
                yield TimestampedValue(reader.get_current(), reader.get_current_timestamp())
                if time.monotonic() >= deadline:
                    break
                there = reader.advance()
            mark.write(reader.get_checkpoint_mark())
        finally:
            reader.close()
        following.set(time.time() + (0.0 if there else self._pause))
