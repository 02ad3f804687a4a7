"""Logs of this process by name, with the topics that were written to them."""

import threading
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from ....schemas.model.ledger import TopicPartition
from ....schemas.model.message import Message


@dataclass(slots=True)
class ScriptedPartition:
    """Messages in order; `first` is the offset of the first that is still held."""

    first: int = 0
    messages: list[Message] = field(default_factory=list)

    @property
    def end(self) -> int:
        return self.first + len(self.messages)

    def between(self, first: int, stop: int) -> list[Message]:
        """The messages of these offsets that are held."""
        return self.messages[max(0, first - self.first) : max(0, stop - self.first)]


@dataclass(slots=True)
class ScriptedLog:
    """The topics of one log. Thread-safe, as far as its methods go."""

    topics: dict[str, dict[int, ScriptedPartition]] = field(default_factory=dict)
    topic_ids: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    _made: int = 0

    def create(self, topic: str, partitions: int) -> None:
        """A topic with this many partitions, or more partitions of one that is there."""
        with self.lock:
            if topic not in self.topics:
                self._made += 1
                self.topics[topic], self.topic_ids[topic] = {}, self._made
            for number in range(partitions):
                self.topics[topic].setdefault(number, ScriptedPartition())

    def append(self, message: Message) -> int:
        """Write a message, whose own offset counts for nothing; the offset that it got."""
        self.create(message.topic, message.partition + 1)
        with self.lock:
            held = self.topics[message.topic][message.partition]
            held.messages.append(message._replace(offset=held.end))
            return held.end - 1

    def forget(self, partition: TopicPartition, before: int) -> None:
        """Drop the messages before an offset, as retention does."""
        with self.lock:
            held = self.topics[partition.topic][partition.partition]
            gone = min(max(0, before - held.first), len(held.messages))
            del held.messages[:gone]
            held.first += gone

    def lose(self, partition: TopicPartition, since: int) -> None:
        """Drop the messages from an offset on, as a broker that lost power; others may be written there."""
        with self.lock:
            held = self.topics[partition.topic][partition.partition]
            del held.messages[max(0, since - held.first) :]

    def delete(self, topic: str) -> None:
        """Remove a topic; one that is created under its name later has another id."""
        with self.lock:
            self.topics.pop(topic, None)
            self.topic_ids.pop(topic, None)

    def partition(self, partition: TopicPartition) -> ScriptedPartition:
        """A copy of what a partition holds; nothing where it does not exist."""
        with self.lock:
            held = self.topics.get(partition.topic, {}).get(partition.partition, ScriptedPartition())
            return ScriptedPartition(held.first, list(held.messages))

    def bounds(self, partition: TopicPartition) -> tuple[int, int]:
        """The first offset that is held, and the end."""
        with self.lock:
            held = self.topics.get(partition.topic, {}).get(partition.partition, ScriptedPartition())
            return held.first, held.end

    def slice(self, partition: TopicPartition, first: int, stop: int) -> Sequence[Message]:
        """The messages of these offsets that are held."""
        with self.lock:
            return self.topics[partition.topic][partition.partition].between(first, stop)


_LOGS: Final[dict[str, ScriptedLog]] = defaultdict(ScriptedLog)


def log_of(name: str) -> ScriptedLog:
    """The log of this name, made where there is none yet."""
    return _LOGS[name]


def forget_log(name: str) -> None:
    """Drop a log with all its topics."""
    _LOGS.pop(name, None)
