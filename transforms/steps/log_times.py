"""Which message of a partition is the first of a moment, exactly, whatever the server knows of times."""

from collections.abc import Sequence
from contextlib import closing

import numpy as np

from ...schemas.model.ledger import TopicPartition
from ..sources.source import Source, SourceConnection


def first_at(
    source: Source, connection: SourceConnection, timestamp: int, partitions: Sequence[TopicPartition]
) -> dict[TopicPartition, int]:
    """Of each partition the first offset whose time (ms since the epoch) is `timestamp` or later, else the end.

    A server may answer with an earlier offset; from there on the log is read. Raises SourceError.
    """
    ends = {partition: end for partition, (_, end) in connection.offsets(partitions).items()}
    answers = connection.offsets_at(timestamp, partitions)
    return {one: _first(source, one, (answers[one], ends[one]), timestamp) for one in partitions}


def _first(source: Source, partition: TopicPartition, span: tuple[int, int], timestamp: int) -> int:
    first, end = span
    if first >= end:
        return end
    with closing(source.reader(partition, first, end)) as reader:
        while not reader.done:
            block = reader.read(1.0)
            if block is None:
                continue
            offsets, times = source.times(block)
            late = np.flatnonzero((times >= timestamp) & (offsets >= first))
            if len(late):
                return int(offsets[late[0]])
    return end
