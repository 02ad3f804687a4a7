"""The contract of a source: a log in partitions, with offsets that grow, read as blocks."""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ...schemas.envelopes.decoded import Decoded
from ...schemas.errors import LostOffsetsError
from ...schemas.model.block import Block
from ...schemas.model.dead_letter import DeadLetter
from ...schemas.model.ledger import TopicPartition
from ...schemas.model.message import MessageLog
from ...schemas.model.message_batch import MessageBatch
from ...schemas.model.route import Route
from ...schemas.options import Options
from ...schemas.plugins import imported

LOGGER: Final = logging.getLogger("millrace")
PATIENCE_SECONDS: Final = 120.0
START_OVER: Final = "To start over: millrace resync JOB --table TABLE"
NEW_COPY: Final = "For a new copy: millrace resync JOB --table TABLE"
"""The same for tables of a database, whose jobs say no `start`."""


@dataclass(frozen=True, slots=True)
class PartitionSpan:
    """The offsets [first, stop) of a partition; `stop` None never ends.

    `stamp` is the event time given to every block, in seconds since the epoch; None gives each the time when it
    was read.
    """

    topic: str
    partition: int
    first: int
    stop: int | None = None
    stamp: float | None = None

    @property
    def source(self) -> TopicPartition:
        return TopicPartition(self.topic, self.partition)


@dataclass(frozen=True, slots=True)
class StartOffsets:
    """Where a stream begins: the first offset of each partition there is, and the ids of their topics.

    `tails` have what the ledger remembers of the logs before those offsets.
    """

    first: Mapping[TopicPartition, int]
    topic_ids: Mapping[str, int] = field(default_factory=dict)
    tails: Mapping[TopicPartition, str] = field(default_factory=dict)


class ReadUpTo(NamedTuple):
    """How far a partition was read, as `Block.tail` told."""

    partition: TopicPartition
    tail: str


class StartOffsetResolver(Protocol):
    """Finds where a job begins: by the target's ledger, else by the job's `start`. Pickled into the stream."""

    def find(self) -> StartOffsets:
        """Ask for all partitions of the job's topics; raises SourceError, SinkError, JobError."""


class SourceConnection(Protocol):
    """An open connection for questions; each answer is asked for anew. Raises SourceError where none comes."""

    def topics(self, names: Sequence[str] = (), pattern: str | None = None) -> dict[str, list[int]]:
        """The partitions of the topics named and of those whose whole name the pattern matches.

        A topic that is named and that this user may not see has none. Raises SourceError for a named topic that does
        not exist, JobError for a pattern that is no regular expression.
        """

    def offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        """Of each partition the first offset that is held, and the one after the last that may be read now.

        Raises DeniedTopicsError where this user may not read some of the topics.
        """

    def offsets_at(self, timestamp: int, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """The first offset whose timestamp is `timestamp` (ms since the epoch) or later, else the end.

        A source that knows times by block only may answer with an earlier offset.
        """

    def topic_ids(self, topics: Sequence[str]) -> dict[str, int]:
        """A number for each topic that changes when it is deleted and created again; empty where there are none."""

    def cut_short(self, read: Collection[ReadUpTo]) -> dict[ReadUpTo, int]:
        """Those whose log is not the one that was read: it lost its end, whatever was written there since.

        With each the offset from which on the log may be another; empty for a source that cannot tell.
        """

    def close(self) -> None:
        """End the connection; may be called twice."""


class BlockReader(Protocol):
    """Reads the offsets [first, stop) of one partition in order; `stop` None reads on for ever. Not thread-safe."""

    @property
    def next(self) -> int:
        """The offset after the last block returned: a new reader that begins there misses nothing."""

    @property
    def done(self) -> bool:
        """Whether the blocks returned reach `stop`."""

    @property
    def end(self) -> int | None:
        """The end of the partition as the server told it last; None before it told one."""

    @property
    def at_end(self) -> bool:
        """Whether the blocks returned reach `end`; false before the server told one."""

    def read(self, wait: float) -> Block | None:
        """The next block, or None where nothing came within about `wait` seconds.

        Its `first` is the `stop` of the block before. A server that is away is asked again, with warnings on the
        logger `millrace`, for the reader's patience; then SourceError. Raises LostOffsetsError for offsets that are
        gone: none is skipped.
        """

    def close(self) -> None:
        """Release connections; the reader may be used again."""


class Source(Protocol):
    """A log with partitions and 64-bit offsets that grow.

    Made with its options, and opens nothing then. Picklable: secrets are references until a worker connects, and
    neither `repr` nor pickle shows one. Equal and hashable by its options.
    """

    @property
    def where(self) -> str:
        """What messages call it, such as its servers; without secrets."""

    def connect(self) -> SourceConnection:
        """Raises SourceError where it cannot be reached, JobError for options that cannot work."""

    def reader(
        self,
        partition: TopicPartition,
        first: int,
        stop: int | None,
        patience: float = PATIENCE_SECONDS,
        tail: str = "",
    ) -> BlockReader:
        """A reader of a partition, from `first` on; nothing is opened before its first `read`.

        `patience`: seconds for which a server that is away is asked again (`math.inf`: for ever). `tail` is what the
        block before told: a source that can tell raises LostOffsetsError where the log is not that one any more.
        """

    def cut(self, block: Block, starts: Sequence[int]) -> list[Block]:
        """The block cut at these offsets, the first of which is its own.

        Decoding the pieces yields the same records as decoding the block, each once.
        """

    def times(self, block: Block) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Offset and time (milliseconds since the epoch, -1 where unknown) of each record, in ascending offsets."""

    def newest(self, block: Block) -> int | None:
        """The largest of those times; None where none is known. Sources of messages find it without splitting."""
        times = self.times(block)[1]
        return int(times.max()) if len(times) and times.max() >= 0 else None

    def message_log(self) -> MessageLog:
        """The log for the proof. It shares nothing with the reading and splitting of blocks."""

    def close(self) -> None:
        """Close what this process keeps open for later readers. The source may be used again."""


@runtime_checkable
class MessageSource(Source, Protocol):
    """A source of messages: bytes, which an encoding and an envelope turn into changes."""

    def split(self, block: Block) -> tuple[MessageBatch, list[DeadLetter]]:
        """The messages inside the block's [first, stop), and a dead letter for each part of it that is corrupt.

        No Python by message. Never raises for what the block holds.
        """

    def times(self, block: Block) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        messages = self.split(block)[0]
        return messages.offset, messages.timestamp


@runtime_checkable
class TypedSource(Source, Protocol):
    """A source whose log is typed already: its blocks are changes, without an encoding or an envelope."""

    def changes(self, block: Block, route: Route) -> Decoded:
        """Changes, counts and dead letters of a block; raises TableError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSpec:
    """A source by its name in the job file: `source.type`.

    `source` is `module:name` of the class, or of a function, that makes it of its options; imported when it is used.
    `options` is the model of the keys that are its own, beside `type`, `topics`, `topic_pattern` and `start`. `extra`
    brings its client library. `typed`: it is a `TypedSource`: tables, no format.
    `files` are ways to those that name files, such as `client.ssl_cafile`. `libraries` are the top-level modules that
    only this connector imports, each with the module of its folder that does, empty where several do.
    """

    name: str
    source: str
    options: type[Options]
    extra: str | None = None
    typed: bool = False
    files: tuple[str, ...] = ()
    libraries: Mapping[str, str] = field(default_factory=dict)

    def open(self, options: Options) -> Source:
        """The source; nothing is connected. Raises MissingExtraError, JobError for options that cannot work."""
        make: Callable[[Any], Source] = imported(self.source, f"source.type: {self.name}", self.extra)
        return make(options)


def lost_offsets(
    partition: TopicPartition, wanted: int, low: int, high: int, *, typed: bool = False
) -> LostOffsetsError:
    """The error for an offset outside [low, high], with what may have happened and what to do.

    `typed`: of a `TypedSource`.
    """
    if typed:
        kept_no_more, other = "the server keeps that part of its log no more", "its log is not the one that was read"
    else:
        kept_no_more = "retention removed the records before they were read"
        other = "the topic was recreated or its log cut short"
    return LostOffsetsError(
        f"{partition}: offset {wanted} is gone, the source holds {low} to {high}: "
        f"{kept_no_more if wanted < low else other}; nothing was skipped. {NEW_COPY if typed else START_OVER}"
    )


def recreated_topic(topic: str, when: str, reached: str = "", *, typed: bool = False) -> LostOffsetsError:
    """The error for a topic that was deleted and created again; `reached` are the offsets that were read of it."""
    what, deleted = ("table", "dropped and made again") if typed else ("topic", "deleted and created again")
    offsets = f"the offsets reached ({reached})" if reached else "the offsets reached"
    return LostOffsetsError(
        f"the {what} {topic} was {deleted} {when}, so {offsets} are of another {what}; nothing was read. "
        f"{NEW_COPY if typed else START_OVER}"
    )


def log_cut_short(partition: TopicPartition, offset: int) -> LostOffsetsError:
    """The error for a log of messages that lost its end after it was read, from `offset` on."""
    return LostOffsetsError(
        f"{partition}: the log was cut short after it was read: from offset {offset} on it has lost records, or holds "
        f"others than those that were read (a broker lost power, or a leader was elected uncleanly); nothing was "
        f"skipped. {START_OVER}"
    )
