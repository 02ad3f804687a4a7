"""Which offsets the next pass covers, by what is left and by what passes came to before."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from ...schemas.model.ledger import OffsetRange, TopicPartition
from ...transforms.sources.database import PassLimiter, ReadsAhead
from ...transforms.sources.source import SourceConnection

FEWEST: Final = 100_000
MOST: Final = 1_000_000
BYTES: Final = 256 << 20
"""Decoded bytes that one pass should come to: what it holds in memory is about twice that."""


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


def next_ranges(connection: SourceConnection, stretch: OffsetProgress, offsets: int) -> list[OffsetRange]:
    """What the next pass covers: `offsets` of them, or as the source says where offsets do not tell how much it is.

    A source that may read ahead is told.
    """
    if not isinstance(connection, PassLimiter):
        return stretch.pass_of(offsets)
    ranges = []
    for source, first in sorted(stretch.next.items()):
        if first < stretch.end[source]:
            stop = connection.pass_stop(source, first, stretch.end[source])
            ranges.append(OffsetRange(source.topic, source.partition, first, stop))
    if isinstance(connection, ReadsAhead):
        connection.begin_pass(ranges)
    return ranges
