"""Reads one table of a Postgres source: the chunks of its copy, then its part of the log."""

import time
from dataclasses import dataclass, field

from ....schemas.errors import JobError, LostOffsetsError, SourceError
from ....schemas.model.block import Block
from ....schemas.model.ledger import TopicPartition
from ..log_records import record
from ..source import LOGGER, lost_offsets
from .blocks import COPIED
from .client import PostgresSettings, Session, lost_slot
from .publication import published
from .tables import STREAM, SourceTable, chunks, copy_query, quoted_name, schema_of, slot_of, tables
from .wal_stream import stream_of


@dataclass(slots=True)
class TableReader:
    """Keeps the contract of `sources.source.BlockReader`."""

    settings: PostgresSettings
    partition: TopicPartition
    next: int
    stop: int | None
    patience: float
    end: int | None = None
    _session: Session | None = field(default=None, repr=False)
    _away_since: float | None = None
    _mark: str | None = None

    @property
    def _place(self) -> tuple[str, int]:
        return self.partition.topic, self.partition.partition

    @property
    def done(self) -> bool:
        return self.stop is not None and self.next >= self.stop

    @property
    def at_end(self) -> bool:
        return self.end is not None and self.next >= self.end

    def read(self, wait: float) -> Block | None:
        if self.done:
            return None
        try:
            block = self._copied() if self.next < STREAM else self._streamed(wait)
        except LostOffsetsError:
            raise
        except SourceError as error:
            self._wait_for_server(error, wait)
            return None
        self._away_since = None
        if block is not None:
            self.next = block.stop
        return block

    def _wait_for_server(self, error: SourceError, wait: float) -> None:
        self.close()
        stream = stream_of(self.settings)
        with stream.lock:
            stream.close()
        now = time.monotonic()
        if self._away_since is None:
            self._away_since = now
            LOGGER.warning("%s; trying again", error)
        if now - self._away_since >= self.patience:
            raise error
        time.sleep(min(wait, 1.0))

    def _table(self) -> tuple[Session, SourceTable]:
        if self._session is None:
            self._session = Session(self.settings)
        found = tables(self._session).get(self.partition.topic)
        if found is None:
            raise JobError(f"there is no table {self.partition.topic} in {self.settings.where} any more")
        return self._session, found

    def _copied(self) -> Block:
        """The next chunk; behind the last one, all that is left of the copy's offsets, without rows."""
        session, table = self._table()
        first = self.next
        slot = slot_of(session, self.settings)
        if slot is None:
            raise lost_slot(self.settings, "is gone")
        tail = self._tail(session, table, slot.confirmed)
        if first >= chunks(table):
            stop = STREAM if self.stop is None else min(STREAM, self.stop)
            return Block(*self._place, first, stop, b"", tail=tail)
        with session.unaltered(quoted_name(table.name)):
            schema = schema_of(session, table)
            data = session.copied(copy_query(table, schema, first))
        return Block(*self._place, first, first + 1, schema.record() + record(COPIED, first, -1, data), tail=tail)

    def _streamed(self, wait: float) -> Block | None:
        session, table = self._table()
        if self.end is None or self.at_end:
            self.end = current_lsn(session)
            if self.next > max(self.end, STREAM):
                raise lost_offsets(self.partition, self.next, 0, self.end)
        stream = stream_of(self.settings)
        with stream.lock:
            taken = stream.take(self.partition.topic, self.next, self.stop, wait)
        if taken is None:
            return None
        reached, data = taken
        return Block(*self._place, self.next, reached, data, tail=self._tail(session, table, reached))

    def _tail(self, session: Session, table: SourceTable, confirmed: int) -> str:
        """As the publication was when this reader began: one that is made anew later is found by the next run."""
        if self._mark is None:
            found = published(session, table)
            self._mark = "" if found is None else found.mark
        return f"{system_of(session)}/{confirmed}/{self._mark}"

    def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()


def current_lsn(session: Session) -> int:
    """The end of the log that is on the server's disk. Raises JobError for a standby."""
    rows = session.rows(
        "SELECT pg_is_in_recovery(), "
        "CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_flush_lsn() - '0/0' END::bigint"
    )
    ((standby, lsn),) = rows
    if standby:
        raise JobError(f"{session.settings.where} is a standby; connect to the primary")
    return int(lsn)


def system_of(session: Session) -> str:
    """The number of the cluster, which a restored copy has too, and a new one has not."""
    ((system,),) = session.rows("SELECT system_identifier::text FROM pg_control_system()")
    return str(system)
