"""A source of files: a topic is a file of the folder, an offset the number of a line, a block some lines."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from millrace.schemas.errors import SourceError
from millrace.schemas.model.block import Block
from millrace.schemas.model.dead_letter import DeadLetter
from millrace.schemas.model.ledger import OffsetRange, TopicPartition
from millrace.schemas.model.message import Message
from millrace.schemas.model.message_batch import MessageBatch
from millrace.transforms.sources.source import MessageSource, ReadUpTo, lost_offsets

from .specs import LinesOptions


@dataclass(frozen=True)
class LineSource(MessageSource):
    """Keeps the contract of a source."""

    options: LinesOptions

    @property
    def where(self) -> str:
        return self.options.folder

    def lines(self, topic: str) -> list[bytes]:
        try:
            return (Path(self.options.folder) / topic).read_bytes().splitlines(keepends=True)
        except OSError as error:
            raise SourceError(f"{self.where}: {topic} cannot be read: {error}") from None

    def connect(self) -> "LineConnection":
        return LineConnection(self)

    def reader(
        self, partition: TopicPartition, first: int, stop: int | None, patience: float = 0.0, tail: str = ""
    ) -> "LineReader":
        return LineReader(self, partition, first, stop)

    def split(self, block: Block) -> tuple[MessageBatch, list[DeadLetter]]:
        data = np.frombuffer(block.data or b"\0", np.uint8)
        ends = np.flatnonzero(data == ord("\n")).astype(np.int64)
        at = np.concatenate(([0], ends[:-1] + 1)).astype(np.int64) if len(ends) else ends
        nothing = np.full(len(ends), -1, np.int64)
        offset = block.first + np.arange(len(ends), dtype=np.int64)
        place = (block.topic, block.partition, block.first, block.stop)
        return MessageBatch(*place, data, offset, nothing, at, nothing, at, ends - at), []

    def cut(self, block: Block, starts: Sequence[int]) -> list[Block]:
        lines, stops = block.data.splitlines(keepends=True), [*starts[1:], block.stop]
        return [
            replace(block, first=low, stop=high, data=b"".join(lines[low - block.first : high - block.first]))
            for low, high in zip(starts, stops, strict=True)
        ]

    def newest(self, block: Block) -> int | None:
        return None

    def message_log(self) -> "LineMessageLog":
        return LineMessageLog(self)

    def close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True)
class LineConnection:
    source: LineSource

    def topics(self, names: Sequence[str] = (), pattern: str | None = None) -> dict[str, list[int]]:
        for name in names:
            self.source.lines(name)
        return {name: [0] for name in names}

    def offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        return {partition: (0, len(self.source.lines(partition.topic))) for partition in partitions}

    def offsets_at(self, timestamp: int, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 0)

    def topic_ids(self, topics: Sequence[str]) -> dict[str, int]:
        return {}

    def cut_short(self, read: Collection[ReadUpTo]) -> dict[ReadUpTo, int]:
        return {}

    def close(self) -> None:
        """Nothing is open."""


@dataclass
class LineReader:
    source: LineSource
    partition: TopicPartition
    next: int
    stop: int | None

    @property
    def done(self) -> bool:
        return self.stop is not None and self.next >= self.stop

    @property
    def end(self) -> int:
        return len(self.source.lines(self.partition.topic))

    @property
    def at_end(self) -> bool:
        return self.next >= self.end

    def read(self, wait: float) -> Block | None:
        lines = self.source.lines(self.partition.topic)
        if not 0 <= self.next <= len(lines):
            raise lost_offsets(self.partition, self.next, 0, len(lines))
        stop = len(lines) if self.stop is None else self.stop
        if self.next >= stop:
            return None
        data = b"".join(lines[self.next : stop])
        block = Block(self.partition.topic, self.partition.partition, self.next, stop, data)
        self.next = stop
        return block

    def close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True)
class LineMessageLog:
    source: LineSource

    def held(self, stops: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, OffsetRange]:
        return {part: OffsetRange(part.topic, part.partition, 0, len(self.source.lines(part.topic))) for part in stops}

    def read(self, ranges: Sequence[OffsetRange]) -> Iterator[Message]:
        for part in ranges:
            for offset, line in enumerate(self.source.lines(part.topic)[part.first : part.stop], part.first):
                yield Message(part.topic, part.partition, offset, None, line.rstrip(b"\n"))
