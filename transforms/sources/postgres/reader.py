"""Reads one table of a Postgres source: the chunks of its copy, then its part of the log."""

from dataclasses import dataclass, replace

from ....schemas.errors import LostOffsetsError, SourceError
from ....schemas.model.block import Block
from ..log_records import record
from ..read_ahead import ahead_of
from ..rounds import ENDED, begins, round_end
from ..source import START_OVER, lost_offsets
from ..table_reader import DatabaseReader
from .blocks import COPIED
from .client import STREAM, PostgresSettings, Session, lost_slot
from .history import Line, check_line, line_of, standing_by
from .marks import Mark, marks_of
from .publication import published
from .tables import SourceTable, quoted_name, schema_of, slot_of, tables
from .wal_stream import stream_of


@dataclass(slots=True)
class TableReader(DatabaseReader[PostgresSettings, Session]):
    """Reads the chunks of the copy, then the log."""

    _entry: str | None = None
    _line: Line | None = None

    def block(self, wait: float) -> Block | None:
        if self.tail:
            marks_of(self.settings).learn(self.partition.topic, replace(Mark.of_text(self.tail), next=self.next))
            self.tail = ""
        if not self.settings.full and self.next >= STREAM:
            return self._streamed(wait)
        return ahead_of(self.settings).take(self.partition, self.next) or self.chunk()

    def connected(self) -> Session:
        self._line = None
        return Session(self.settings)

    def close_stream(self) -> None:
        stream = stream_of(self.settings)
        with stream.lock:
            stream.close()

    def _lost_place(self) -> LostOffsetsError:
        return LostOffsetsError(
            f"{self.partition}: nobody knows where chunk {self.next} of the copy begins; nothing was skipped. "
            f"{START_OVER}"
        )

    def _table(self) -> tuple[Session, SourceTable]:
        found = tables(self.session()).get(self.partition.topic)
        if found is None:
            raise self.gone()
        return self.session(), found

    def _mark(self, session: Session, table: SourceTable) -> Mark:
        """What is known at `next`, by the server that was read before. Raises LostOffsetsError for another one."""
        if self.settings.full:
            return self._mark_of_round()
        mark = None if self.next == 0 else marks_of(self.settings).at(self.partition.topic, self.next)
        if self._line is None:
            line = line_of(session)
            if mark is not None:
                check_line(self.settings, line, mark)
            self._line = line
        if mark is not None:
            return replace(mark, system=self._line.system, timeline=self._line.timeline)
        if 0 < self.next < STREAM:
            raise self._lost_place()
        if self._entry is None:
            found = published(session, table)
            self._entry = "" if found is None else found.mark
        return Mark(self._line.system, self.next, 0, self._entry, self._line.timeline)

    def _mark_of_round(self) -> Mark:
        if begins(self.next):
            return Mark("", self.next, 0, "", begun=self.next)
        mark = marks_of(self.settings).at(self.partition.topic, self.next)
        if mark is None:
            raise self._lost_place()
        return mark

    def _block(self, mark: Mark, data: bytes) -> Block:
        marks_of(self.settings).learn(self.partition.topic, mark)
        return Block(*self.place, self.next, mark.next, data, tail=mark.text())

    def chunk(self) -> Block:
        """The next chunk of the copy; with the last one, all that is left of the copy's offsets."""
        # Compiled loops take most of a second to import: what copies nothing does without them.
        from .copies import next_chunk

        session, table = self._table()
        mark, full = self._mark(session, table), self.settings.full
        if not full:
            slot = slot_of(session, self.settings)
            if slot is None:
                raise lost_slot(self.settings, "is gone")
            mark = replace(mark, confirmed=slot.confirmed)
        end = round_end(self.next) if full else STREAM
        limit = end if self.stop is None else min(end, self.stop)
        if mark.copied:
            return self._block(replace(mark, next=limit), b"")
        with session.unaltered(quoted_name(table.name)):
            schema = schema_of(session, table)
            data, behind = next_chunk(session, table, schema, mark)
        found = schema.record() + record(COPIED, self.next, -1, data)
        if full:
            if behind.copied and behind.begun > 0:
                found += record(ENDED, self.next, -1, behind.begun.to_bytes(8, "little"))
        else:
            behind = replace(behind, settled=max(mark.settled, newest_lsn(session)))
        return self._block(replace(behind, next=limit if behind.copied else self.next + 1), found)

    def _streamed(self, wait: float) -> Block | None:
        session, table = self._table()
        mark = self._mark(session, table)
        if self.end is None or self.at_end:
            self.end = current_lsn(session)
            if self.next > max(self.end, STREAM):
                raise lost_offsets(self.partition, self.next, 0, self.end, typed=True)
        stream = stream_of(self.settings)
        with stream.lock:
            taken = stream.take(self.partition.topic, self.next, self.stop, wait)
            received, line = stream.received, stream.line
        if taken is None:
            return None
        if line != self._line:
            raise SourceError(f"{self.settings.where}: the server was replaced by another one while it was asked")
        reached, data = taken
        if data and self.next < mark.settled:
            data, mark = self._settled(session, table, data, received, mark)
        return self._block(replace(mark, next=reached, confirmed=reached), data)

    def _settled(
        self, session: Session, table: SourceTable, data: bytes, received: frozenset[int], mark: Mark
    ) -> tuple[bytes, Mark]:
        """What rows that moved while the table was copied lack; they are looked up until the log is past that."""
        from .moved_rows import looked_up

        found = looked_up(session, table, data, received)
        if found is None:
            return data, mark
        return found, replace(mark, settled=newest_lsn(session))


def current_lsn(session: Session) -> int:
    """The end of the log that is on the server's disk. Raises JobError for a standby."""
    rows = session.rows(
        "SELECT pg_is_in_recovery(), "
        "CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_flush_lsn() - '0/0' END::bigint"
    )
    ((standby, lsn),) = rows
    if standby:
        raise standing_by(session.settings)
    return int(lsn)


def newest_lsn(session: Session) -> int:
    """Where the log is written next: all that this session has seen stands before it."""
    ((lsn,),) = session.rows("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint")
    return int(lsn)
