"""An endless Beam source: its partitions and first offsets are found where it runs, and so is their growth."""

import json
import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from apache_beam import coders
from apache_beam.io.unbounded_source import CheckpointMark, UnboundedReader, UnboundedSource
from apache_beam.utils.timestamp import MAX_TIMESTAMP, MIN_TIMESTAMP, Timestamp

from ...schemas.errors import SourceError
from ...schemas.model.block import Block
from ...schemas.model.ledger import TopicPartition
from ..coders import BlockCoder
from .discovery import topic_discovery
from .lag import measure
from .source import BlockReader, Source, StartOffsetResolver, StartOffsets

WAIT_SECONDS: Final = 0.02
IDLE_MS: Final = 2_000

DRAIN: Final = threading.Event()
"""Set in a process, its streams end where they are, as if the topics ended there: all windows close and commit."""


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """What all readers of a stream share. `lateness`: seconds that a quiet partition is waited for, by event time."""

    source: Source
    topics: tuple[str, ...]
    pattern: str | None = None
    by_event: bool = False
    lateness: float = 0.0


@dataclass(frozen=True, slots=True)
class PartitionProgress:
    """Where the reading of a partition stands: the next offset, and the event time reached (None: no record yet).

    `tail` is what the source remembers of the log before that offset (`Block.tail`).
    """

    next: int
    reached: int | None = None
    tail: str = ""


@dataclass(frozen=True, slots=True)
class StreamMark(CheckpointMark):
    """Places by partition, and the newest arrival time given, in microseconds, so that time never runs back.

    Finalizing does nothing: the target's ledger holds what is safe.
    """

    places: Mapping[TopicPartition, PartitionProgress]
    arrived: int = 0


class MarkCoder(coders.Coder):
    """JSON: a savepoint must be readable by later versions."""

    def encode(self, value: StreamMark) -> bytes:
        places = [
            [p.topic, p.partition, place.next, place.reached, place.tail] for p, place in sorted(value.places.items())
        ]
        return json.dumps([value.arrived, places]).encode()

    def decode(self, encoded: bytes) -> StreamMark:
        arrived, places = json.loads(encoded)
        return StreamMark({TopicPartition(row[0], row[1]): PartitionProgress(*row[2:]) for row in places}, arrived)

    def is_deterministic(self) -> bool:
        return True


class StreamRead(UnboundedSource):
    """Blocks of all partitions of the topics, for ever: one split a partition, and one for those that come later.

    Splitting asks `beginnings` where the runner first runs the source, not where the job is submitted: a job file
    rendered long ago begins where the target stands. Blocks bear the time they were read, never running back; with
    `by_event` they bear the lowest time that any of their changes may be windowed at (see `StreamReader`). A server
    that is away is waited for. Raises LostOffsetsError for offsets that are gone.
    """

    def __init__(
        self,
        settings: StreamSettings,
        beginnings: StartOffsetResolver | None,
        begin: StartOffsets | None = None,
        known: frozenset[TopicPartition] | None = None,
    ) -> None:
        self._settings = settings
        self._beginnings = beginnings
        self._begin = begin
        self._known = known

    def split(self, desired_num_splits: int, options: Any = None) -> list[UnboundedSource]:
        """However many are desired: partitions are the units of order."""
        begin = self._found()
        tails = begin.tails
        firsts = sorted(begin.first.items())
        parts = [StartOffsets({one: first}, tails={one: tails.get(one, "")}) for one, first in firsts]
        splits = [StreamRead(self._settings, None, part) for part in parts]
        later = StartOffsets({}, begin.topic_ids)
        return [*splits, StreamRead(self._settings, self._beginnings, later, frozenset(begin.first))]

    def create_reader(self, options: Any, checkpoint_mark: CheckpointMark | None) -> UnboundedReader:
        """A reader from the mark on. A source that could not be split, which Beam only logs, is tried again here."""
        begin, known = self._begin, self._known
        if begin is None:
            begin = self._found()
            known = frozenset(begin.first)
        mark = checkpoint_mark
        if not isinstance(mark, StreamMark):
            places = begin.first.items()
            mark = StreamMark({one: PartitionProgress(first, tail=begin.tails.get(one, "")) for one, first in places})
        growth = None
        if known is not None and self._beginnings is not None:
            growth = Growth(self._settings, self._beginnings, known, begin.topic_ids)
        return StreamReader(self._settings, mark, growth)

    def _found(self) -> StartOffsets:
        if self._beginnings is None:
            raise SourceError("a part of the stream without a beginning")
        return self._beginnings.find()

    def get_checkpoint_mark_coder(self) -> coders.Coder:
        return MarkCoder()

    def default_output_coder(self) -> coders.Coder:
        return BlockCoder()


@dataclass(frozen=True, slots=True)
class Growth:
    """Finds partitions that are not `known`."""

    settings: StreamSettings
    beginnings: StartOffsetResolver
    known: frozenset[TopicPartition]
    topic_ids: Mapping[str, int]

    def find(self, held: Mapping[TopicPartition, Any]) -> dict[TopicPartition, int]:
        """First offsets of new partitions that are not `held` yet."""
        settings = self.settings
        there = topic_discovery(settings.source, settings.topics, settings.pattern, dict(self.topic_ids)).partitions()
        fresh = [source for source in there if source not in self.known and source not in held]
        if not fresh:
            return {}
        first = self.beginnings.find().first
        return {source: first[source] for source in fresh if source in first}


class StreamReader(UnboundedReader):
    """Reads its partitions in turn; the Beam side of their BlockReaders.

    By arrival a block bears the time when it was read. By event time, a partition has *reached* the newest timestamp
    that it gave, but never more than the clock (a producer whose clock runs ahead stops nobody); where it has nothing
    more to give, it is the allowed lateness behind the clock, at least `IDLE_MS` (a partition that is idle stops
    nothing). A block bears what its partition had reached before it.
    """

    def __init__(self, settings: StreamSettings, mark: StreamMark, growth: Growth | None) -> None:
        self._settings = settings
        self._growth = growth
        self._places = dict(mark.places)
        self._arrived = mark.arrived
        self._idle = max(IDLE_MS, round(settings.lateness * 1000))
        self._readers = {source: self._open(source, place) for source, place in self._places.items()}
        self._turn: list[TopicPartition] = sorted(self._readers)
        self._block: Block | None = None
        self._given = False
        self._stamp = MIN_TIMESTAMP
        self._ended = False

    def _open(self, source: TopicPartition, place: PartitionProgress) -> BlockReader:
        return self._settings.source.reader(source, place.next, None, math.inf, place.tail)

    def start(self) -> bool:
        return self.advance()

    def advance(self) -> bool:
        """False too where a block was given and all partitions are at their ends: the bundle ends, others have a turn.

        Runners read their splits one after the other, so each split that waits makes all of them late.
        """
        self._block = None
        if DRAIN.is_set():
            self._ended = True
            return False
        given, self._given = self._given, False
        if given and all(reader.at_end for reader in self._readers.values()):
            return False
        self._grow()
        wait = WAIT_SECONDS / max(1, len(self._turn))
        for _ in range(len(self._turn)):
            source = self._turn.pop(0)
            self._turn.append(source)
            block = self._readers[source].read(wait)
            if block is not None:
                seen = self._settings.source.newest(block)
                measure(block, self._readers[source].end, seen)
                self._take(source, block, seen)
                return True
            self._rest(source)
        self._arrived = max(self._arrived, _now())
        return False

    def _grow(self) -> None:
        if self._growth is None:
            return
        for source, first in self._growth.find(self._places).items():
            self._places[source] = PartitionProgress(first)
            self._readers[source] = self._open(source, self._places[source])
            self._turn.append(source)

    def _take(self, source: TopicPartition, block: Block, time_there: int | None) -> None:
        self._arrived = max(self._arrived, _now())
        place = self._places[source]
        reached = place.reached
        self._stamp = Timestamp(micros=self._arrived)
        if self._settings.by_event:
            self._stamp = _stamp(reached)
            if time_there is not None:
                seen = min(time_there, self._arrived // 1000)
                reached = seen if reached is None else max(seen, reached)
            block = replace(block, reached=reached if reached is not None else self._arrived // 1000)
        self._places[source] = PartitionProgress(block.stop, reached, block.tail or place.tail)
        self._block, self._given = block, True

    def _rest(self, source: TopicPartition) -> None:
        if not (self._settings.by_event and self._readers[source].at_end):
            return
        place, idle = self._places[source], _now() // 1000 - self._idle
        if place.reached is None or place.reached < idle:
            self._places[source] = replace(place, reached=idle)

    def get_current(self) -> Block:
        if self._block is None:
            raise ValueError("there is no current block")
        return self._block

    def get_current_timestamp(self) -> Timestamp:
        return self._stamp

    def get_watermark(self) -> Timestamp:
        if self._ended:
            return MAX_TIMESTAMP
        if not self._settings.by_event:
            return Timestamp(micros=self._arrived) if self._arrived else MIN_TIMESTAMP
        if not self._places:
            return Timestamp(micros=self._arrived - self._idle * 1000)
        return _stamp(min((place.reached for place in self._places.values()), key=_known))

    def get_checkpoint_mark(self) -> StreamMark:
        """Where to go on; the readers hand back what they hold open, as at the end of a bundle.

        Flink gives the next bundle a reader of its own, and lets this one lie with its connections for a minute: each
        bundle would open new ones, which have nothing to give before it ends.
        """
        self.close()
        return StreamMark(dict(self._places), self._arrived)

    def close(self) -> None:
        for reader in self._readers.values():
            reader.close()


def _now() -> int:
    """Microseconds since the epoch."""
    return time.time_ns() // 1000


def _known(reached: int | None) -> float:
    return -math.inf if reached is None else reached


def _stamp(reached: int | None) -> Timestamp:
    return MIN_TIMESTAMP if reached is None else Timestamp(micros=reached * 1000)
