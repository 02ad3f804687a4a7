"""Where the changes of a topic go."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from .declared_type import DeclaredType
from .epoch import OnNewSource
from .incompatible_columns import OnIncompatible
from .ledger import TopicPartition
from .modes import Mode
from .unrepresentable import OnUnrepresentable


class OrderBy(StrEnum):
    """What orders the changes of a key."""

    POSITION = "position"
    """The source's own position, and where a topic has none the offset."""
    TIMESTAMP = "timestamp"
    """The time of the message in its topic, then the offset."""


class OnTwoSources(StrEnum):
    """What happens where two sources, whose positions cannot be compared, write into one table."""

    STOP = "stop"
    """The table stops, and says which they are."""
    SEPARATE_KEYS = "separate_keys"
    """The job vouches that no key is in both, so nothing is ever compared; the proof says where one is."""
    NEWEST_TIME = "newest_time"
    """The sources' clocks decide (Debezium's `source.ts_ms`), then the positions."""


class OnSnapshot(StrEnum):
    """What the end of a whole snapshot does to rows of the table that the snapshot does not have."""

    UPSERT = "upsert"
    """Nothing: rows that were deleted while nobody listened stay."""
    REPLACE = "replace"
    """They are deleted."""


class OnTruncate(StrEnum):
    """What a TRUNCATE in the stream does to its table."""

    FAIL = "fail"
    APPLY = "apply"
    IGNORE = "ignore"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where the changes of a topic go: the table, its key where the job names one, and all topics of that table.

    `sources` are the partitions known when the job was built; others of the same topics may come later. With
    `event_time` the changes carry their own time (`_millrace_time`): the record's timestamp. `copies` are further
    tables that the same changes fill, each in a mode of its own, and each a `copy`: its messages count once.
    `renames` are (old, new) names of columns.
    `epochs`: the ledger knows of epochs, so it is asked for the epoch of each change. `columns` are the types that the
    job declares, for messages that do not say them.
    """

    table: str
    key: tuple[str, ...] | None = None
    on_truncate: OnTruncate = OnTruncate.FAIL
    sources: tuple[TopicPartition, ...] = ()
    event_time: bool = False
    mode: Mode = Mode.MIRROR
    copies: tuple["Route", ...] = ()
    copy: bool = False
    on_unrepresentable: OnUnrepresentable = OnUnrepresentable.NULL_AND_NOTE
    on_new_source: OnNewSource = OnNewSource.STOP
    on_incompatible: OnIncompatible = OnIncompatible.STOP
    epochs: bool = False
    order_by: OrderBy = OrderBy.POSITION
    renames: tuple[tuple[str, str], ...] = ()
    columns: Mapping[str, DeclaredType] = field(default_factory=dict, hash=False)
    on_snapshot: OnSnapshot = OnSnapshot.UPSERT
    on_two_sources: OnTwoSources = OnTwoSources.STOP

    @property
    def tables(self) -> tuple["Route", ...]:
        """The route of each table, its own first."""
        return (self, *self.copies)

    @property
    def timed(self) -> bool:
        """Whether a table's window or mode needs the changes' own time."""
        return self.event_time or any(part.mode is not Mode.MIRROR for part in self.tables)

    @property
    def topics(self) -> tuple[str, ...]:
        """The table's topics, in order."""
        return tuple(sorted({source.topic for source in self.sources}))

    def number(self, topic: str, partition: int) -> int:
        """The `_millrace_source` of a partition, the same on every worker, whether it is among `sources` or not."""
        topics = self.topics
        return partition * len(topics) + topics.index(topic)

    def source(self, number: int) -> TopicPartition:
        """The partition of a `_millrace_source`."""
        partition, place = divmod(number, len(self.topics))
        return TopicPartition(self.topics[place], partition)
