"""What a Kafka cluster holds: topics, partitions, offsets."""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import astuple
from functools import partial
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from kafka import KafkaConsumer
from kafka import TopicPartition as KafkaPartition
from kafka.errors import AuthorizationError, KafkaError, KafkaTimeoutError, NodeNotReadyError

from ....schemas.errors import DeniedTopicsError, SourceError
from ....schemas.model.ledger import TopicPartition
from ..source import ReadUpTo
from ..topic_names import matching_topics, near_topic
from .client import open_consumer, topic_id, unseen_topics
from .connection_faults import denied_topics, refused
from .log_tail import LogTail, cut_short
from .settings import KafkaSettings

_T = TypeVar("_T")
_TIMEOUT_MS: Final = 30_000
ID_SHIFT: Final = 128 - 60
"""Leaves the upper 60 bits of a topic's id, which is a UUID."""
_LOOK_MS: Final = 20
"""How long `_read_past` waits before it looks who has answered."""
_BACK_OFF_MS: Final = 20


class Broker:
    """An open connection for questions; each answer is asked for anew. Raises SourceError where none comes in 30 s.

    After a question without an answer the next one goes by way of `bootstrap_servers` again: the brokers that were
    known may all have gone, and others may be there.
    """

    def __init__(self, settings: KafkaSettings, consumer: KafkaConsumer) -> None:
        self._settings = settings
        self._consumer = consumer
        self._lost = False

    def topics(self, names: Sequence[str] = (), pattern: str | None = None) -> dict[str, list[int]]:
        """The partitions of the topics named and of those whose whole name the pattern matches.

        A topic that is named and that this user may not see has none. Raises SourceError for a named topic that does
        not exist, JobError for a pattern that is no regular expression.
        """
        known = self._ask("topics", lambda: self._consumer.topics())
        unknown = [name for name in names if name not in known]
        unseen = self._ask("topics", lambda: unseen_topics(self._consumer, unknown)) if unknown else set()
        for name in unknown:
            if name not in unseen:
                hint = near_topic(name, set(known) - set(names), "create it, or check source.topics")
                raise SourceError(f"there is no topic {name!r} at {self._settings.bootstrap_servers}; {hint}")
        wanted = set(names) | matching_topics(known, pattern)
        return {
            name: [] if name in unseen else sorted(self._consumer.partitions_for_topic(name)) for name in sorted(wanted)
        }

    def offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        """The first offset held, and the offset up to which all transactions have ended (the last stable offset)."""
        asked = [KafkaPartition(source.topic, source.partition) for source in partitions]
        low = self._ask("offsets", lambda: self._consumer.beginning_offsets(asked, _TIMEOUT_MS))
        high = self._ask("offsets", lambda: self._consumer.end_offsets(asked, _TIMEOUT_MS))
        self._read_past(high)
        return {source: (low[tp], high[tp]) for source, tp in zip(partitions, asked, strict=True)}

    def _read_past(self, ends: dict[Any, int]) -> None:
        """Move each end past the committed records there: Tansu 0.6 answers with an offset in the last batch.

        Each partition's leader must have answered: one that is slow would leave its end in that batch, and what is
        behind it unread.
        """
        # What was known of a partition goes with its assignment.
        self._consumer.unsubscribe()
        self._consumer.assign(list(ends))
        for tp, end in ends.items():
            self._consumer.seek(tp, end)
        self._ask("records", partial(self._read_on, ends))

    def _read_on(self, ends: dict[Any, int]) -> None:
        silent, deadline = set(ends), time.monotonic() + _TIMEOUT_MS / 1000
        while silent:
            for tp in self._consumer.poll(_LOOK_MS):
                ends[tp] = self._consumer.position(tp)
            silent = {tp for tp in silent if self._consumer.highwater(tp) is None}
            if silent and time.monotonic() > deadline:
                raise KafkaTimeoutError(f"no records of {min(silent)}")

    def offsets_at(self, timestamp: int, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """The first offset whose timestamp is `timestamp` (ms since the epoch) or later, else the end."""
        asked = {KafkaPartition(source.topic, source.partition): timestamp for source in partitions}
        found = self._ask("offsets by time", lambda: self._consumer.offsets_for_times(asked, _TIMEOUT_MS))
        ends = self.offsets(partitions)
        at = {source: found[KafkaPartition(source.topic, source.partition)] for source in partitions}
        return {source: ends[source][1] if place is None else place.offset for source, place in at.items()}

    def topic_ids(self, topics: Sequence[str]) -> dict[str, int]:
        """A number for each topic that changes when it is deleted and created again (60 bits of its id).

        Empty for brokers older than 2.8, which have no ids.
        """
        self._ask("topics", lambda: self._consumer.topics())
        found = {topic: topic_id(self._consumer, topic) for topic in topics}
        return {topic: known.int >> ID_SHIFT for topic, known in found.items() if known is not None}

    def cut_short(self, read: Collection[ReadUpTo]) -> dict[ReadUpTo, int]:
        """Those whose log lost its end, by the epochs of its leaders, or else by the checksum of the last batch."""
        lost: dict[ReadUpTo, int] = {}
        left = sorted(read)
        # Tables may have read one partition up to different offsets: a partition is asked of once in each round.
        while left:
            asked = {one.partition: one for one in left}
            tails = {KafkaPartition(*astuple(part)): LogTail.of_text(one.tail) for part, one in asked.items()}
            found = self._ask("epochs", partial(self._cut_short, tails))
            lost.update({asked[TopicPartition(*partition)]: since for partition, since in found.items()})
            left = [one for one in left if asked[one.partition] != one]
        return lost

    def _cut_short(self, tails: dict[KafkaPartition, LogTail]) -> dict[KafkaPartition, int]:
        try:
            return cut_short(self._consumer, tails, _TIMEOUT_MS)
        except NodeNotReadyError:
            # Nothing was asked about these topics before, or they have other leaders now.
            self._consumer.topics()
            return cut_short(self._consumer, tails, _TIMEOUT_MS)

    def close(self) -> None:
        """End the connection; may be called twice."""
        self._consumer.close(autocommit=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, what: str, question: Callable[[], _T]) -> _T:
        if self._lost:
            before, self._consumer = self._consumer, _consumer(self._settings)
            self._lost = False
            before.close(autocommit=False)
        try:
            return question()
        except KafkaError as error:
            if isinstance(error, AuthorizationError):
                said = f"{self._settings.bootstrap_servers}: {refused(error)}"
                raise DeniedTopicsError(said, denied_topics(error)) from None
            self._lost = True
            name = type(error).__name__
            raise SourceError(f"no {what} from the broker at {self._settings.bootstrap_servers}: {name}") from None


def open_broker(settings: KafkaSettings) -> Broker:
    """Connect; raises SourceError where no broker answers, JobError for settings that cannot work."""
    return Broker(settings, _consumer(settings))


def _consumer(settings: KafkaSettings) -> KafkaConsumer:
    # Kafka-python asks about topics again no sooner than its back-off, also where the last answer was good.
    # Each fetch is answered for each partition, also where nothing is new: the answer says that there is nothing.
    return open_consumer(
        settings,
        fetch_max_wait_ms=_LOOK_MS // 2,
        retry_backoff_ms=_BACK_OFF_MS,
        enable_incremental_fetch_sessions=False,
    )
