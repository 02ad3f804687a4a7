"""Reads one table of a Postgres source: the chunks of its copy, then its part of the log."""

from dataclasses import dataclass

from ....schemas.errors import JobError
from ....schemas.model.block import Block
from ..log_records import record
from ..source import lost_offsets
from ..table_reader import DatabaseReader
from .blocks import COPIED
from .client import PostgresSettings, Session, lost_slot
from .publication import published
from .tables import STREAM, SourceTable, chunks, copy_query, quoted_name, schema_of, slot_of, tables
from .wal_stream import stream_of


@dataclass(slots=True)
class TableReader(DatabaseReader[PostgresSettings, Session]):
    """Reads the chunks of the copy, then the log."""

    _mark: str | None = None

    def block(self, wait: float) -> Block | None:
        return self._copied() if self.next < STREAM else self._streamed(wait)

    def connected(self) -> Session:
        return Session(self.settings)

    def close_stream(self) -> None:
        stream = stream_of(self.settings)
        with stream.lock:
            stream.close()

    def _table(self) -> tuple[Session, SourceTable]:
        found = tables(self.session()).get(self.partition.topic)
        if found is None:
            raise self.gone()
        return self.session(), found

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
            return Block(*self.place, first, stop, b"", tail=tail)
        with session.unaltered(quoted_name(table.name)):
            schema = schema_of(session, table)
            data = session.copied(copy_query(table, schema, first))
        return Block(*self.place, first, first + 1, schema.record() + record(COPIED, first, -1, data), tail=tail)

    def _streamed(self, wait: float) -> Block | None:
        session, table = self._table()
        if self.end is None or self.at_end:
            self.end = current_lsn(session)
            if self.next > max(self.end, STREAM):
                raise lost_offsets(self.partition, self.next, 0, self.end, typed=True)
        stream = stream_of(self.settings)
        with stream.lock:
            taken = stream.take(self.partition.topic, self.next, self.stop, wait)
        if taken is None:
            return None
        reached, data = taken
        return Block(*self.place, self.next, reached, data, tail=self._tail(session, table, reached))

    def _tail(self, session: Session, table: SourceTable, confirmed: int) -> str:
        """As the publication was when this reader began: one that is made anew later is found by the next run."""
        if self._mark is None:
            found = published(session, table)
            self._mark = "" if found is None else found.mark
        return f"{system_of(session)}/{confirmed}/{self._mark}"


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
