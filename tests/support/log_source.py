"""A topic in memory as a job's steps see it: blocks of its messages, and answers about its offsets."""

from itertools import count

from millrace.schemas.model.block import Block
from millrace.schemas.model.ledger import TopicPartition
from millrace.schemas.model.message import Message
from millrace.transforms.sources.kafka.settings import KafkaSettings
from millrace.transforms.sources.kafka.source import KafkaSource
from support.record_batches import batch

NUMBERS = count(1)
LOGS = {}
"""The messages of each log, by its name and partition."""


def block_of(messages: list[Message]) -> Block:
    """Messages of one partition, without a gap, as one block."""
    first, records = messages[0], [(one.timestamp, one.key, one.value, list(one.headers)) for one in messages]
    return Block(first.topic, first.partition, first.offset, first.offset + len(messages), batch(first.offset, records))


class LogSource(KafkaSource):
    """Reads messages again without a broker; `log` by partition number."""

    @classmethod
    def new(cls, partitions: int) -> "LogSource":
        name = f"log:{next(NUMBERS)}"
        LOGS[name] = {number: [] for number in range(partitions)}
        return cls(KafkaSettings(name))

    @property
    def log(self) -> dict[int, list[Message]]:
        return LOGS[self.where]

    def know(self, messages: list[Message]) -> None:
        """These are in the log now; of an offset that it has already, nothing changes."""
        for one in messages:
            lane = self.log[one.partition]
            if not lane or one.offset > lane[-1].offset:
                lane.append(one)

    def forget(self, partition: int, first: int) -> None:
        """What stands before an offset is gone."""
        self.log[partition] = [one for one in self.log[partition] if one.offset >= first]

    def reader(self, partition, first, stop, *more) -> "LogBlocks":
        return LogBlocks([one for one in self.log[partition.partition] if first <= one.offset < stop])

    def connect(self) -> "LogAnswers":
        return LogAnswers(self.log)


class LogBlocks:
    """A reader of these messages, in one block."""

    def __init__(self, messages: list[Message]) -> None:
        self.messages, self.done = messages, not messages

    def read(self, wait: float) -> Block:
        self.done = True
        return block_of(self.messages)

    def close(self) -> None:
        """Nothing is open."""


class LogAnswers:
    """A connection to the log."""

    def __init__(self, log: dict[int, list[Message]]) -> None:
        self.log = log

    def topics(self, names=(), pattern=None):
        return {name: list(self.log) for name in names}

    def offsets(self, partitions):
        lanes = {source: self.log[source.partition] for source in partitions}
        return {source: (lane[0].offset, lane[-1].offset + 1) if lane else (0, 0) for source, lane in lanes.items()}

    def offsets_at(self, timestamp, partitions):
        ends = self.offsets(partitions)
        return {source: self._at(source, timestamp, ends[source][1]) for source in partitions}

    def _at(self, source: TopicPartition, timestamp: int, end: int) -> int:
        return next((one.offset for one in self.log[source.partition] if one.timestamp >= timestamp), end)

    def close(self) -> None:
        """Nothing is open."""
