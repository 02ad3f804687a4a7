"""A Postgres database as a source: it keeps the contract of `sources.source`. A table is a topic of one partition."""

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
from .client import STREAM, PostgresSettings, Session, lost_slot
from .history import check_line, line_of
from .marks import Mark, marks_of
from .options import PostgresOptions
from .preflight import condition_advice, preflight, slot_advice
from .publication import dropped, prepared, published, unpublished
from .reader import TableReader, current_lsn
from .rows import TableRows, rows_at_moment
from .tables import SourceTable, schema_of, slot_of, tables
from .wal_stream import close_streams

PASS_CHUNKS: Final = 32
PASS_BYTES: Final = 256 << 20
"""How much of a copy (chunks of 4 MB) and of the log (bytes) one pass reads."""


@dataclass(frozen=True, slots=True)
class PostgresSource(DatabaseSource):
    """A database. Blocks are messages of pgoutput, whole transactions each, and chunks of a copy."""

    settings: PostgresSettings

    @property
    def where(self) -> str:
        return self.settings.where

    def connect(self) -> "PostgresConnection":
        return PostgresConnection(Session(self.settings))

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
        raise JobError("a Postgres source keeps no messages that could be read again: verify compares with its rows")

    def rows(self, topic: str) -> AbstractContextManager[TableRows]:
        return rows_at_moment(self.settings, topic)

    def close(self) -> None:
        ahead_of(self.settings).close()
        close_streams(self.settings)


def open_source(options: PostgresOptions) -> PostgresSource:
    """The database that a job file names."""
    return PostgresSource(
        PostgresSettings(
            options.host,
            options.port,
            options.database,
            options.username,
            options.password,
            options.sslmode,
            options.sslrootcert,
            options.slot,
            options.publication,
            options.sync,
            options.snapshot.settings,
        )
    )


@dataclass(slots=True)
class PostgresConnection:
    """Answers about the tables of a database; `copying` are the tables that are being copied."""

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
                hint = near_topic(name, known, "write SCHEMA.TABLE, such as public.orders")
                raise SourceError(f"there is no table {name!r} in {self.session.settings.where}; {hint}")
        return {name: [0] for name in sorted({*names, *matching_topics(known, pattern, "table_pattern")})}

    def offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        settings = self.session.settings
        if settings.full:
            return {one: (0, end_after(marks_of(settings).reached(one.topic))) for one in partitions}
        first = settings.first
        slot = slot_of(self.session, settings)
        # A slot that was just made begins where the log may not be on the disk yet.
        end = max(current_lsn(self.session), STREAM, 0 if slot is None else slot.confirmed)
        return dict.fromkeys(partitions, (first, end))

    def offsets_at(self, timestamp: int, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        # The log is not searched by time; an earlier offset is allowed, and a copy is always right.
        return {partition: first for partition, (first, _) in self.offsets(partitions).items()}

    def topic_ids(self, topics: Sequence[str]) -> dict[str, int]:
        if self.session.settings.full:
            return {}  # A table that was made anew is copied as any other.
        known = tables(self.session)
        return {topic: known[topic].oid for topic in topics if topic in known}

    def cut_short(self, read: Collection[ReadUpTo]) -> dict[ReadUpTo, int]:
        """Empty: raises LostOffsetsError where the cluster is another one, or the slot has passed what was read."""
        told = [one for one in read if one.tail]
        for one in told:
            mark = Mark.of_text(one.tail)
            check_sync(self.session.settings, one.partition, mark)
            marks_of(self.session.settings).reach(one.partition.topic, mark)
        if not told or self.session.settings.full:
            return {}
        slot, settings = slot_of(self.session, self.session.settings), self.session.settings
        line, there = line_of(self.session), tables(self.session)
        for one in told:
            mark = Mark.of_text(one.tail)
            check_line(settings, line, mark)
            if slot is None:
                raise lost_slot(settings, "is gone")
            if slot.confirmed > mark.confirmed:
                raise lost_slot(settings, "has moved past what the target holds")
            table = there.get(one.partition.topic)
            now = None if table is None else published(self.session, table)
            if mark.entry and (now is None or now.mark != mark.entry):
                raise unpublished(settings, one.partition.topic)
        return {}

    def pass_stop(self, partition: TopicPartition, first: int, end: int) -> int:
        """Where a pass that begins at `first` ends: so many chunks of a copy, or bytes of the log."""
        settings = self.session.settings
        if settings.full or first < STREAM:
            mark = marks_of(settings).at(partition.topic, first)
            if mark is not None and mark.copied and not (settings.full and begins(first)):
                return min(end, round_end(first))
            return min(end, first + max(1, PASS_CHUNKS // self.copying))
        slot = slot_of(self.session, self.session.settings)
        begin = first if first > STREAM or slot is None else max(slot.confirmed, STREAM)
        return end if end - begin < 2 * PASS_BYTES else begin + PASS_BYTES

    def prepare(self, next: Mapping[TopicPartition, int]) -> bool:
        """The publication and the slot; a table that has been read needs the slot that was there."""
        settings, known = self.session.settings, tables(self.session)
        check_conditions(settings.copies, known)
        self.copying = max(1, sum(settings.full or offset < STREAM for offset in next.values()))
        if settings.full:
            for source, offset in next.items():
                if source.topic in known and (refusal := known[source.topic].unreadable):
                    raise JobError(refusal)
                if offset == 0:
                    marks_of(settings).reach(source.topic, Mark("", 0, 0, "", begun=0))
            return True  # Where tables stand is known now, and so where their copies end.
        first = settings.first
        made = [
            prepared(self.session, known[source.topic], new=offset == first)
            for source, offset in sorted(next.items())
            if source.topic in known
        ]
        return any(made)

    def confirm(self, reached: Mapping[TopicPartition, int]) -> None:
        """Let the server drop the log up to what all tables of the job have in their ledgers."""
        lowest = min(reached.values(), default=0)
        settings = self.session.settings
        if settings.full or lowest <= STREAM:
            return
        close_streams(settings)
        slot = slot_of(self.session, settings)
        if slot is not None and not slot.active and slot.confirmed < lowest:
            query = "SELECT pg_replication_slot_advance(%s, '0/0'::pg_lsn + %s::numeric)"
            self.session.rows(query, (settings.slot, lowest))

    def advice(self, topics: Sequence[str]) -> list[Advice]:
        """What would fail, each with the statement that mends it."""
        known = tables(self.session)
        found: list[SourceTable] = [known[topic] for topic in topics if topic in known]
        return [*preflight(self.session, found), *condition_advice(self.session, found)]

    def make(self, topics: Sequence[str]) -> list[str]:
        settings = self.session.settings
        if settings.full:
            return ["source.sync: full reads no log: there is nothing to make"]
        before = slot_of(self.session, settings)
        known = tables(self.session)
        added = [topic for topic in topics if topic in known and prepared(self.session, known[topic], new=True)]
        now = "was there" if before is not None else "made"
        return [f"slot {settings.slot}: {now}", f"publication {settings.publication}: {', '.join(added) or 'has all'}"]

    def drop(self) -> list[str]:
        return dropped(self.session)

    def kept(self) -> list[Advice]:
        return [] if self.session.settings.full else list(slot_advice(self.session))

    def columns(self, topic: str, route: Route) -> TopicColumns:
        known = tables(self.session)
        if topic not in known:
            raise SourceError(f"there is no table {topic!r} in {self.session.settings.where}")
        # Compiled loops take most of a second to import: what asks for no columns does without them.
        from .columns import topic_columns

        return topic_columns(schema_of(self.session, known[topic]), route, topic)

    def close(self) -> None:
        self.session.close()
