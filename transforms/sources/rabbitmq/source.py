"""RabbitMQ's streams as a source: it keeps the contract of `sources.source`."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from ....schemas.errors import DeniedTopicsError, JobError, SourceError
from ....schemas.model.block import Block
from ....schemas.model.dead_letter import DeadLetter
from ....schemas.model.ledger import TopicPartition
from ....schemas.model.message_batch import MessageBatch
from ..source import PATIENCE_SECONDS, MessageSource, ReadUpTo
from ..topic_names import matching_topics, near_topic
from .chunk_header import Header, chunk_bounds, of_tail
from .connecting import connected
from .connection import DENIED, NO_STREAM, AnswerError, StreamConnection
from .management import listed
from .message_log import RabbitmqMessageLog
from .names import streams
from .options import RabbitmqOptions
from .reader import StreamPartitionReader
from .stream_bounds import bounds, offset_at, other_log_since

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RabbitmqSource(MessageSource):
    """A virtual host. Blocks are whole chunks as delivered; only what enough nodes have is delivered."""

    options: RabbitmqOptions

    @property
    def where(self) -> str:
        return ",".join(self.options.servers)

    def connect(self) -> "RabbitmqConnection":
        connected(self.options).close()
        return RabbitmqConnection(self.options)

    def reader(
        self,
        partition: TopicPartition,
        first: int,
        stop: int | None,
        patience: float = PATIENCE_SECONDS,
        tail: str = "",
    ) -> StreamPartitionReader:
        return StreamPartitionReader(self.options, partition, (first, stop), patience, tail)

    def split(self, block: Block) -> tuple[MessageBatch, list[DeadLetter]]:
        # Compiled loops take most of a second to import: what splits no block does without them.
        from .chunks import key_place, split

        return split(block, key_place(self.options.key, self.options.body))

    def cut(self, block: Block, starts: Sequence[int]) -> list[Block]:
        from .chunks import cut

        return cut(block, starts)

    def newest(self, block: Block) -> int | None:
        headers = [Header.of(block.data[start:stop]) for start, stop in chunk_bounds(block.data)]
        return max((header.timestamp for header in headers), default=None)

    def message_log(self) -> RabbitmqMessageLog:
        return RabbitmqMessageLog(self.options)

    def close(self) -> None:
        """Nothing is kept open."""


def open_source(options: RabbitmqOptions) -> RabbitmqSource:
    """The virtual host that a job file names."""
    if options.body == "raw" and "key" in options.model_fields_set:
        raise JobError("source.key: messages have no key with source.body: raw; remove one of the two")
    return RabbitmqSource(options)


@dataclass(slots=True)
class RabbitmqConnection:
    """Answers about streams, each asked of the node that writes the stream."""

    options: RabbitmqOptions
    _streams: dict[TopicPartition, str] = field(default_factory=dict)

    def topics(self, names: Sequence[str] = (), pattern: str | None = None) -> dict[str, list[int]]:
        """The partitions of the streams and super streams named, and of those that the pattern matches.

        The pattern needs the management plugin: raises JobError without `source.management`.
        """
        wanted = {*names, *(self._matching(pattern) if pattern is not None else ())}
        connection = connected(self.options)
        try:
            return {name: self._partitions(connection, name) for name in sorted(wanted)}
        finally:
            connection.close()

    def offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        return {partition: self._of(partition, bounds) for partition in partitions}

    def offsets_at(self, timestamp: int, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return {partition: self._of(partition, partial(_offset_at, timestamp)) for partition in partitions}

    def topic_ids(self, topics: Sequence[str]) -> dict[str, int]:
        """Streams have none; `cut_short` knows one that was made again by its chunks."""
        return {}

    def cut_short(self, read: Collection[ReadUpTo]) -> dict[ReadUpTo, int]:
        lost = {}
        for one in read:
            since = self._of(one.partition, partial(_other_log_since, of_tail(one.tail)))
            if since is not None:
                lost[one] = since
        return lost

    def close(self) -> None:
        """Nothing is open between two questions."""

    def _matching(self, pattern: str) -> set[str]:
        if self.options.management is None:
            raise JobError(
                "source.topic_pattern: only RabbitMQ's management plugin lists streams; add source.management: "
                "http://HOST:15672, or name the streams in source.topics"
            )
        return matching_topics(listed(self.options, self.options.management), pattern)

    def _partitions(self, connection: StreamConnection, topic: str) -> list[int]:
        try:
            found = streams(connection, topic)
        except AnswerError as error:
            if error.code == DENIED:
                return []
            if error.code != NO_STREAM:
                raise
            raise SourceError(f"there is no topic {topic!r} at {connection.where}; {self._hint(topic)}") from None
        self._streams |= {TopicPartition(topic, number): stream for number, stream in enumerate(found)}
        return list(range(len(found)))

    def _hint(self, topic: str) -> str:
        known = listed(self.options, self.options.management) if self.options.management is not None else set()
        return near_topic(topic, known, "make the stream, or check source.topics")

    def _of(self, partition: TopicPartition, question: Callable[[StreamConnection, str], T]) -> T:
        """The answer about a partition from the node of its stream. Raises DeniedTopicsError, SourceError."""
        if partition not in self._streams:
            self.topics([partition.topic])
        if partition not in self._streams:
            raise DeniedTopicsError(f"{partition}: this user may not read it", {partition.topic})
        stream = self._streams[partition]
        connection = connected(self.options, stream)
        try:
            return question(connection, stream)
        except AnswerError as error:
            if error.code == DENIED:
                raise DeniedTopicsError(f"{partition}: {error}", {partition.topic}) from None
            raise
        finally:
            connection.close()


def _offset_at(timestamp: int, connection: StreamConnection, stream: str) -> int:
    return offset_at(connection, stream, timestamp)


def _other_log_since(read: Header, connection: StreamConnection, stream: str) -> int | None:
    return other_log_since(connection, stream, read)
