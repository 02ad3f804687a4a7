"""A MySQL or MariaDB server as a source: it keeps the contract of `sources.source`. A table is a topic."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final

from ....schemas.envelopes.decoded import Decoded
from ....schemas.envelopes.topic_columns import TopicColumns
from ....schemas.errors import JobError, SourceError
from ....schemas.model.block import Block
from ....schemas.model.ledger import OffsetRange, TopicPartition
from ....schemas.model.message import MessageLog
from ....schemas.model.route import Route
from ..copy_options import check_conditions
from ..database import Advice, CopyProgress, DatabaseSource
from ..read_ahead import ahead_of
from ..rounds import begins, check_sync, end_after, round_end, unread
from ..source import PATIENCE_SECONDS, ReadUpTo
from ..topic_names import matching_topics, near_topic
from .binlog_stream import close_streams
from .client import MySqlSettings, Session, other_server
from .log_place import file_of, identity, log_end, pass_stop
from .marks import Mark, marks_of
from .offsets import STREAM, place_of
from .options import MySqlOptions
from .preflight import condition_advice, preflight
from .reader import TableReader, begin, learn_tail
from .rows import TableRows, rows_at_moment
from .tables import schema_of, tables

PASS_CHUNKS: Final = 32
PASS_BYTES: Final = 256 << 20
"""How much of a copy (chunks of 4 MB) and of the log (bytes) one pass reads."""


@dataclass(frozen=True, slots=True)
class MySqlSource(DatabaseSource):
    """A server. Blocks are chunks of a copy, and events of the binlog, whole transactions each."""

    settings: MySqlSettings

    @property
    def where(self) -> str:
        return self.settings.where

    def connect(self) -> "MySqlConnection":
        return MySqlConnection(Session(self.settings))

    def reader(
        self,
        partition: TopicPartition,
        first: int,
        stop: int | None,
        patience: float = PATIENCE_SECONDS,
        tail: str = "",
    ) -> TableReader:
        return TableReader(self.settings, partition, first, stop, patience, tail)

    def changes(self, block: Block, route: Route) -> Decoded:
        # Compiled loops take most of a second to import: what decodes no block does without them.
        from .changes import decode

        return decode(block, route)

    def message_log(self) -> MessageLog:
        raise JobError("a MySQL source keeps no messages that could be read again: verify compares with its rows")

    def rows(self, topic: str) -> AbstractContextManager[TableRows]:
        return rows_at_moment(self.settings, topic)

    def close(self) -> None:
        ahead_of(self.settings).close()
        close_streams(self.settings)


def open_source(options: MySqlOptions) -> MySqlSource:
    """The server that a job file names."""
    return MySqlSource(
        MySqlSettings(
            options.host,
            options.port,
            options.username,
            options.password,
            options.sslmode,
            options.sslrootcert,
            options.server_id,
            options.sync,
            options.snapshot.settings,
            options.binlog_start,
        )
    )


@dataclass(slots=True)
class MySqlConnection:
    """Answers about the tables of a server; `copying` are the tables that are being copied."""

    session: Session
    copying: int = 1

    @property
    def repeats(self) -> bool:
        return self.session.settings.full

    def unread(self, offset: int) -> int:
        return unread(offset)

    def copies(self, reached: Mapping[TopicPartition, int]) -> list[CopyProgress]:
        settings = self.session.settings
        marks = {one.topic: marks_of(settings).at(one.topic, offset) for one, offset in reached.items()}
        going = {topic: mark for topic, mark in marks.items() if mark is not None and mark.counted and not mark.copied}
        if not going:
            return []
        known = tables(self.session)
        return [
            CopyProgress(topic, mark.counted, known[topic].rows if topic in known else 0)
            for topic, mark in sorted(going.items())
        ]

    def begin_pass(self, ranges: Sequence[OffsetRange]) -> None:
        settings = self.session.settings
        copied = [span for span in ranges if settings.full or span.first < STREAM]
        if settings.copies.parallel > 1 and copied:
            ahead_of(settings).begin(settings.copies.parallel, copied, self._reader)

    def _reader(self, span: OffsetRange) -> TableReader:
        partition = TopicPartition(span.topic, span.partition)
        return TableReader(self.session.settings, partition, span.first, span.stop, PATIENCE_SECONDS)

    def topics(self, names: Sequence[str] = (), pattern: str | None = None) -> dict[str, list[int]]:
        known = tables(self.session)
        for name in names:
            if name not in known:
                hint = near_topic(name, known, "write DATABASE.TABLE, such as shop.orders")
                raise SourceError(
                    f"there is no table {name!r} in {self.session.settings.where} that this user can see; {hint}"
                )
        return {name: [0] for name in sorted({*names, *matching_topics(known, pattern, "table_pattern")})}

    def offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        settings = self.session.settings
        if settings.full:
            return {one: (0, end_after(marks_of(settings).reached(one.topic))) for one in partitions}
        return dict.fromkeys(partitions, (settings.first, log_end(self.session)))

    def offsets_at(self, timestamp: int, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        # The log is not searched by time; an earlier offset is allowed, and a copy is always right.
        return {partition: first for partition, (first, _) in self.offsets(partitions).items()}

    def topic_ids(self, topics: Sequence[str]) -> dict[str, int]:
        # A table that is dropped and made again has the same name and no number; the DROP stands in the log.
        return {}

    def cut_short(self, read: Collection[ReadUpTo]) -> dict[ReadUpTo, int]:
        """Empty: raises LostOffsetsError where the server is another one."""
        settings = self.session.settings
        told = [one for one in read if one.tail]
        server = identity(self.session) if told and not settings.full else ""
        for one in told:
            mark = learn_tail(settings, one.partition.topic, one.tail)
            check_sync(settings, one.partition, mark)
            if mark.server != server:
                raise other_server(settings)
        return {}

    def pass_stop(self, partition: TopicPartition, first: int, end: int) -> int:
        """Where a pass that begins at `first` ends: so many chunks of a copy, or bytes of the log."""
        settings = self.session.settings
        if first > STREAM and not settings.full:
            return pass_stop(self.session, first, end, PASS_BYTES)
        mark = marks_of(settings).at(partition.topic, first)
        if mark is None or not mark.copied or (settings.full and begins(first)):
            return min(end, first + max(1, PASS_CHUNKS // self.copying))
        if settings.full:
            return min(end, round_end(first))
        log = min(mark.log, end)
        return pass_stop(self.session, log, end, PASS_BYTES) if log < end else end

    def prepare(self, next: Mapping[TopicPartition, int]) -> bool:
        """Fix where the log begins for tables of which nothing was read yet; others need the log that was there.

        Raises LostOffsetsError where the server has that log no more.
        """
        settings = self.session.settings
        check_conditions(settings.copies, tables(self.session))
        self.copying = max(1, sum(settings.full or offset < STREAM for offset in next.values()))
        first, marks = settings.first, marks_of(settings)
        if settings.full:
            for source, offset in next.items():
                if offset == 0:
                    marks.reach(source.topic, Mark("", 0, 0, begun=0))
            return True  # Where tables stand is known now, and so where their copies end.
        marks.wanted.update(source.topic for source in next)
        for source, offset in sorted(next.items()):
            if offset == first:
                continue
            mark = marks.at(source.topic, offset)
            log = offset if mark is None else mark.log
            if log > STREAM:
                file_of(self.session, place_of(log)[0])
        new = [source.topic for source, offset in next.items() if offset == first]
        if new:
            mark = begin(self.session, new[0], first)
            for topic in new:
                marks.learn(topic, mark)
        return bool(new)

    def confirm(self, reached: Mapping[TopicPartition, int]) -> None:
        """A server keeps its binlog for a time, whoever reads it."""

    def advice(self, topics: Sequence[str]) -> list[Advice]:
        """What would fail, each with the statement that mends it."""
        known = tables(self.session)
        found = [known[topic] for topic in topics if topic in known]
        return [*preflight(self.session, found), *condition_advice(self.session, found)]

    def columns(self, topic: str, route: Route) -> TopicColumns:
        """By the server's catalog."""
        known = tables(self.session)
        if topic not in known:
            raise SourceError(f"there is no table {topic!r} in {self.session.settings.where}")
        # Compiled loops take most of a second to import: what asks for no columns does without them.
        from .text_columns import topic_columns

        return topic_columns(schema_of(self.session, known[topic]), route, topic)

    def close(self) -> None:
        self.session.close()
