"""The scripted source: a test writes messages, a job reads them."""

import time
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ....schemas.errors import SourceError
from ....schemas.model.block import Block
from ....schemas.model.dead_letter import DeadLetter
from ....schemas.model.ledger import OffsetRange, TopicPartition
from ....schemas.model.message import Message, MessageLog
from ....schemas.model.message_batch import MessageBatch
from ..source import PATIENCE_SECONDS, MessageSource, ReadUpTo, log_cut_short, lost_offsets
from ..topic_names import matching_topics, near_topic
from .blocks import CODER, message_batch, packed, unpacked
from .log import ScriptedLog, forget_log, log_of
from .options import ScriptedOptions

BLOCK_MESSAGES: Final = 10_000
POLL_SECONDS: Final = 0.01


@dataclass(frozen=True, slots=True)
class ScriptedSource(MessageSource):
    """The log of this name in the memory of this process.

    A job file names it as `source: {type: scripted, name: NAME, topics: [...]}`; the job's workers must be threads of
    this process, as those of `run` are.
    """

    name: str

    @property
    def where(self) -> str:
        return f"scripted source {self.name}"

    @property
    def log(self) -> ScriptedLog:
        return log_of(self.name)

    def create_topic(self, topic: str, partitions: int = 1) -> None:
        """A topic with this many partitions; one that is there gets more."""
        self.log.create(topic, partitions)

    def send(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        partition: int = 0,
        timestamp: int | None = None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> int:
        """Write a message to the end of a partition, which is made where there is none; its offset.

        `timestamp` in milliseconds since the epoch, now where it is None.
        """
        stamp = time.time_ns() // 1_000_000 if timestamp is None else timestamp
        return self.log.append(Message(topic, partition, 0, key, value, headers, stamp))

    def forget(self, topic: str, before: int, partition: int = 0) -> None:
        """Drop the messages before an offset, as retention does."""
        self.log.forget(TopicPartition(topic, partition), before)

    def lose_tail(self, topic: str, since: int, partition: int = 0) -> None:
        """Drop the messages from an offset on, as a broker that lost power; what is sent next takes their offsets."""
        self.log.lose(TopicPartition(topic, partition), since)

    def delete_topic(self, topic: str) -> None:
        """Remove a topic; one that is created under its name later is another."""
        self.log.delete(topic)

    def clear(self) -> None:
        """Drop all topics."""
        forget_log(self.name)

    def connect(self) -> "ScriptedConnection":
        return ScriptedConnection(self)

    def reader(
        self,
        partition: TopicPartition,
        first: int,
        stop: int | None,
        patience: float = PATIENCE_SECONDS,
        tail: str = "",
    ) -> "ScriptedReader":
        return ScriptedReader(self.log, partition, first, stop, tail)

    def split(self, block: Block) -> tuple[MessageBatch, list[DeadLetter]]:
        return message_batch(block.topic, block.partition, unpacked(block.data), (block.first, block.stop)), []

    def cut(self, block: Block, starts: Sequence[int]) -> list[Block]:
        columns = unpacked(block.data)
        edges: NDArray[np.int64] = np.searchsorted(np.asarray(columns.column("offset")), [*starts, block.stop])
        return block.pieces(starts, [_sliced(columns, int(low), int(high)) for low, high in pairwise(edges)])

    def message_log(self) -> MessageLog:
        return ScriptedMessageLog(self.log)

    def close(self) -> None:
        """Nothing is held open."""


def open_source(options: ScriptedOptions) -> ScriptedSource:
    """The log that a job file names."""
    return ScriptedSource(options.name)


@dataclass(frozen=True, slots=True)
class ScriptedConnection:
    """Answers about the topics of a log."""

    source: ScriptedSource

    def topics(self, names: Sequence[str] = (), pattern: str | None = None) -> dict[str, list[int]]:
        known = self.source.log.topics
        for name in names:
            if name not in known:
                hint = near_topic(name, known, "send something to it first")
                raise SourceError(f"there is no topic {name!r} in the {self.source.where}; {hint}")
        return {name: sorted(known[name]) for name in sorted({*names, *matching_topics(known, pattern)})}

    def offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        return {partition: self.source.log.bounds(partition) for partition in partitions}

    def offsets_at(self, timestamp: int, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        held = {partition: self.source.log.partition(partition) for partition in partitions}
        return {
            partition: next((one.offset for one in part.messages if one.timestamp >= timestamp), part.end)
            for partition, part in held.items()
        }

    def topic_ids(self, topics: Sequence[str]) -> dict[str, int]:
        ids = self.source.log.topic_ids
        return {topic: ids[topic] for topic in topics if topic in ids}

    def cut_short(self, read: Collection[ReadUpTo]) -> dict[ReadUpTo, int]:
        return {one: since for one in read if (since := lost_since(self.source.log, one)) is not None}

    def close(self) -> None:
        """Nothing is open."""


@dataclass(slots=True)
class ScriptedReader:
    """Reads a partition; waits for messages that are not there yet."""

    log: ScriptedLog
    partition: TopicPartition
    next: int
    stop: int | None
    tail: str = ""

    @property
    def done(self) -> bool:
        return self.stop is not None and self.next >= self.stop

    @property
    def end(self) -> int:
        return self.log.bounds(self.partition)[1]

    @property
    def at_end(self) -> bool:
        return self.next >= self.end

    def read(self, wait: float) -> Block | None:
        if self.done:
            return None
        deadline = time.monotonic() + wait
        first, end = self.log.bounds(self.partition)
        while self.next == end and self.stop is None and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
            first, end = self.log.bounds(self.partition)
        if not first <= self.next <= end or (self.stop or 0) > end:
            raise lost_offsets(self.partition, self.next, first, end)
        if self.next == end:
            return None
        if self.tail and (since := lost_since(self.log, ReadUpTo(self.partition, self.tail))) is not None:
            raise log_cut_short(self.partition, since)
        stop = min(end, self.next + BLOCK_MESSAGES, end if self.stop is None else self.stop)
        messages = self.log.slice(self.partition, self.next, stop)
        if messages:
            self.tail = tail_of(messages[-1])
        place = (self.partition.topic, self.partition.partition, self.next, stop)
        self.next = stop
        return Block(*place, packed(messages), tail=self.tail)

    def close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True, slots=True)
class ScriptedMessageLog:
    """The messages as they were sent."""

    log: ScriptedLog

    def held(self, stops: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, OffsetRange]:
        bounds = {partition: self.log.bounds(partition) for partition in stops}
        return {part: OffsetRange(part.topic, part.partition, *bounds[part]) for part in stops}

    def read(self, ranges: Sequence[OffsetRange]) -> Iterator[Message]:
        for part in ranges:
            yield from self.log.partition(part.source).between(part.first, part.stop)


def tail_of(message: Message) -> str:
    """What a ledger keeps of the last message that was read: its offset, and a checksum of it."""
    return f"{message.offset}:{zlib.crc32(repr(message).encode())}"


def lost_since(log: ScriptedLog, read: ReadUpTo) -> int | None:
    """The offset of the last message that was read, where another one or none stands there now."""
    offset = int(read.tail.partition(":")[0])
    first, _ = log.bounds(read.partition)
    there = [tail_of(message) for message in log.partition(read.partition).between(offset, offset + 1)]
    return offset if offset >= first and there != [read.tail] else None


def _sliced(columns: pa.RecordBatch, low: int, high: int) -> bytes:
    return CODER.encode(columns.slice(low, high - low))
