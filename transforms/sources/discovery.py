"""Partitions and topics that appear while a stream is read."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from ...schemas.errors import LostOffsetsError, SourceError
from ...schemas.model.ledger import TopicPartition
from .source import LOGGER, Source, SourceConnection, TypedSource, recreated_topic

LOOK_SECONDS: Final = 15.0


@dataclass(slots=True, eq=False)
class TopicDiscovery:
    """What a source holds of some topics, asked for at most every `LOOK_SECONDS`; thread-safe.

    A runner may build a new reader for each bundle: those of one process share one (`topic_discovery`), and with it
    the connection and the time of the last look.
    """

    source: Source
    topics: tuple[str, ...]
    pattern: str | None
    topic_ids: dict[str, int]
    _connection: SourceConnection | None = None
    _next_look: float = field(default_factory=lambda: time.monotonic() + LOOK_SECONDS)
    _partitions: frozenset[TopicPartition] = frozenset()
    _told: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def partitions(self) -> frozenset[TopicPartition]:
        """The partitions of the topics as of the last look; none before the first one.

        A server that is away is told of on the logger `millrace` and asked again. Raises LostOffsetsError where a
        topic was deleted and created again.
        """
        with self._lock:
            if time.monotonic() >= self._next_look:
                self._next_look = time.monotonic() + LOOK_SECONDS
                try:
                    self._look()
                except SourceError as error:
                    if isinstance(error, LostOffsetsError):
                        raise
                    self.close()
                    LOGGER.warning("cannot look for new partitions: %s; trying again in %.0f s", error, LOOK_SECONDS)
            return self._partitions

    def _look(self) -> None:
        if self._connection is None:
            self._connection = self.source.connect()
        found = self._connection.topics(self.topics, self.pattern)
        self._check_ids()
        self._partitions = frozenset(
            TopicPartition(topic, number) for topic in self.topics for number in found.get(topic, ())
        )
        for topic in sorted(set(found) - set(self.topics) - self._told):
            self._told.add(topic)
            what = "table" if isinstance(self.source, TypedSource) else "topic"
            LOGGER.warning(
                "%s %s matches source.%s_pattern and is newer than this run: start the job again to read it",
                *(what, topic, what),
            )

    def _check_ids(self) -> None:
        ids = self._connection.topic_ids(self.topics) if self._connection is not None else {}
        for topic, number in self.topic_ids.items():
            if ids.get(topic, number) != number:
                raise recreated_topic(topic, "while it was read", typed=isinstance(self.source, TypedSource))

    def close(self) -> None:
        """Let go of the connection; it is opened again when needed."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


_DISCOVERIES: Final[dict[object, TopicDiscovery]] = {}
_LOCK: Final = threading.Lock()


def topic_discovery(
    source: Source, topics: Sequence[str], pattern: str | None, topic_ids: dict[str, int]
) -> TopicDiscovery:
    """The discovery that this process has for these topics."""
    key = (source, tuple(topics), pattern, tuple(sorted(topic_ids.items())))
    with _LOCK:
        if key not in _DISCOVERIES:
            _DISCOVERIES[key] = TopicDiscovery(source, tuple(topics), pattern, topic_ids)
        return _DISCOVERIES[key]


def close_discoveries() -> None:
    """Forget them all, with their connections: at the end of a run, where others follow in the same process."""
    with _LOCK:
        for held in _DISCOVERIES.values():
            held.close()
        _DISCOVERIES.clear()
