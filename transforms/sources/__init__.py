"""Where change streams come from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from ...schemas.model.ledger import TopicPartition


@dataclass(frozen=True, slots=True)
class StartOffsets:
    """Where a stream begins: the first offset of each partition there is, and the ids of their topics."""

    first: Mapping[TopicPartition, int]
    topic_ids: Mapping[str, int] = field(default_factory=dict)


class StartOffsetResolver(Protocol):
    """Who knows where a job begins: the target's ledger, or its `start`. Pickled into the source."""

    def find(self) -> StartOffsets:
        """Ask for all partitions of the job's topics; raises SourceError, SinkError, JobError."""
