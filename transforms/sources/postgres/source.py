"""A Postgres database as a source: it keeps the contract of `sources.source`. A table is a topic of one partition."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final

from ....schemas.envelopes.decoded import Decoded
from ....schemas.envelopes.topic_columns import TopicColumns
from ....schemas.errors import JobError, SourceError
from ....schemas.model.block import Block
from ....schemas.model.ledger import TopicPartition
from ....schemas.model.message import MessageLog
from ....schemas.model.route import Route
from ..database import Advice, DatabaseSource
from ..source import PATIENCE_SECONDS, ReadUpTo
from ..topic_names import matching_topics, near_topic
from .client import PostgresSettings, Session, lost_slot
from .history import check_line, line_of
from .marks import Mark, marks_of
from .options import PostgresOptions
from .preflight import preflight, slot_advice
from .publication import dropped, prepared, published, unpublished
from .reader import TableReader, current_lsn
from .rows import TableRows, rows_at_moment
from .tables import STREAM, SourceTable, schema_of, slot_of, tables
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
            options.sync == "hybrid",
        )
    )


@dataclass(frozen=True, slots=True)
class PostgresConnection:
    """Answers about the tables of a database."""

    session: Session

    def topics(self, names: Sequence[str] = (), pattern: str | None = None) -> dict[str, list[int]]:
        known = tables(self.session)
        for name in names:
            if name not in known:
                hint = near_topic(name, known, "write SCHEMA.TABLE, such as public.orders")
                raise SourceError(f"there is no table {name!r} in {self.session.settings.where}; {hint}")
        return {name: [0] for name in sorted({*names, *matching_topics(known, pattern, "table_pattern")})}

    def offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        first = 0 if self.session.settings.hybrid else STREAM
        slot = slot_of(self.session, self.session.settings)
        # A slot that was just made begins where the log may not be on the disk yet.
        end = max(current_lsn(self.session), STREAM, 0 if slot is None else slot.confirmed)
        return dict.fromkeys(partitions, (first, end))

    def offsets_at(self, timestamp: int, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        # The log is not searched by time; an earlier offset is allowed, and a copy is always right.
        return {partition: first for partition, (first, _) in self.offsets(partitions).items()}

    def topic_ids(self, topics: Sequence[str]) -> dict[str, int]:
        known = tables(self.session)
        return {topic: known[topic].oid for topic in topics if topic in known}

    def cut_short(self, read: Collection[ReadUpTo]) -> dict[ReadUpTo, int]:
        """Empty: raises LostOffsetsError where the cluster is another one, or the slot has passed what was read."""
        told = [one for one in read if one.tail]
        if not told:
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
            marks_of(settings).learn(one.partition.topic, mark)
        return {}

    def pass_stop(self, partition: TopicPartition, first: int, end: int) -> int:
        """Where a pass that begins at `first` ends: so many chunks of a copy, or bytes of the log."""
        if first < STREAM:
            mark = marks_of(self.session.settings).at(partition.topic, first)
            return min(end, STREAM if mark is not None and mark.copied else first + PASS_CHUNKS)
        slot = slot_of(self.session, self.session.settings)
        begin = first if first > STREAM or slot is None else max(slot.confirmed, STREAM)
        return end if end - begin < 2 * PASS_BYTES else begin + PASS_BYTES

    def prepare(self, next: Mapping[TopicPartition, int]) -> bool:
        """The publication and the slot; a table that has been read needs the slot that was there."""
        known, first = tables(self.session), 0 if self.session.settings.hybrid else STREAM
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
        if lowest <= STREAM:
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
        return preflight(self.session, found)

    def make(self, topics: Sequence[str]) -> list[str]:
        settings = self.session.settings
        before = slot_of(self.session, settings)
        known = tables(self.session)
        added = [topic for topic in topics if topic in known and prepared(self.session, known[topic], new=True)]
        now = "was there" if before is not None else "made"
        return [f"slot {settings.slot}: {now}", f"publication {settings.publication}: {', '.join(added) or 'has all'}"]

    def drop(self) -> list[str]:
        return dropped(self.session)

    def kept(self) -> list[Advice]:
        return list(slot_advice(self.session))

    def columns(self, topic: str, route: Route) -> TopicColumns:
        known = tables(self.session)
        if topic not in known:
            raise SourceError(f"there is no table {topic!r} in {self.session.settings.where}")
        # Compiled loops take most of a second to import: what asks for no columns does without them.
        from .columns import topic_columns

        return topic_columns(schema_of(self.session, known[topic]), route, topic)

    def close(self) -> None:
        self.session.close()
