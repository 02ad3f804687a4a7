"""How far a stream is read: Beam metrics of its source, and what this process has read, for its terminal."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from apache_beam.metrics.metric import Metrics

from ...schemas.model.block import Block
from ...schemas.model.ledger import TopicPartition


@dataclass(frozen=True, slots=True)
class Reading:
    """The next offset, the end as last heard, and the age of the newest record when it was read, in ms."""

    next: int
    end: int | None
    behind: int | None


_READINGS: Final[dict[TopicPartition, Reading]] = {}


def measure(block: Block, end: int | None, seen: int | None) -> None:
    """Note what was read; `seen` is the time of the block's newest record, in milliseconds.

    Gauges by partition: `<topic>[<partition>].` and `read`, `end`, `behind_ms`.

    The last is the age of that record; a clock that runs ahead counts as 0.
    """
    source = TopicPartition(block.topic, block.partition)
    behind = None if seen is None else max(0, time.time_ns() // 1_000_000 - seen)
    _READINGS[source] = Reading(block.stop, end, behind)
    for name, value in (("read", block.stop), ("end", end), ("behind_ms", behind)):
        if value is not None:
            Metrics.gauge("millrace", f"{source}.{name}").set(value)


def readings() -> Mapping[TopicPartition, Reading]:
    """The last reading of each partition that this process has read."""
    return dict(_READINGS)
