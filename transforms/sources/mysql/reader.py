"""Reads one table of a MySQL source: the chunks of its copy, then its part of the binlog."""

from dataclasses import dataclass, replace

import numpy as np

from ....schemas.errors import LostOffsetsError, SourceError
from ....schemas.model.block import Block
from ...mysql_protocol.packets import count_rows, fill_fields
from ..log_records import record
from ..read_ahead import ahead_of
from ..rounds import ENDED, begins, round_end
from ..source import NEW_COPY, lost_offsets
from ..table_reader import DatabaseReader
from .binlog_stream import file_born, stream_of
from .client import MySqlSettings, Session
from .log_place import file_of, identity, log_end, safe_start
from .log_tables import COPIED
from .marks import Mark, Marks, marks_of
from .offsets import STREAM, place_named, place_of
from .tables import CopiedSchema, SourceTable, copy_query, key_texts, rows_of_chunk, schema_of, tables


@dataclass(slots=True)
class TableReader(DatabaseReader[MySqlSettings, Session]):
    """Reads the chunks of the copy, then the log."""

    def block(self, wait: float) -> Block | None:
        if self.tail:
            learn_tail(self.settings, self.partition.topic, self.tail)
            self.tail = ""
        if not self.settings.full and self.next > STREAM:
            return self._streamed(wait)
        return ahead_of(self.settings).take(self.partition, self.next) or self.chunk()

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

    @property
    def _marks(self) -> Marks:
        return marks_of(self.settings)

    def _block(self, mark: Mark, data: bytes) -> Block:
        self._marks.learn(self.partition.topic, mark)
        return Block(*self.place, self.next, mark.next, data, tail=mark.text())

    def _here(self, session: Session) -> Mark:
        """What is known at `next` of the copy."""
        full = self.settings.full
        if full and begins(self.next):
            return Mark("", self.next, 0, begun=self.next)
        mark = self._marks.at(self.partition.topic, self.next)
        if mark is None:
            if full or self.next not in (0, STREAM):
                raise LostOffsetsError(
                    f"{self.partition}: nobody knows where chunk {self.next} of the copy begins; nothing was skipped. "
                    f"{NEW_COPY}"
                )
            mark = begin(session, self.partition.topic, self.next)
        return mark

    def chunk(self) -> Block:
        """The next chunk of the copy; its last one, or where the job has none, all up to where the log begins."""
        session, table = self._table()
        mark = self._here(session)
        end = round_end(self.next) if self.settings.full else mark.log
        limit = end if self.stop is None else min(end, self.stop)
        if mark.copied:
            return self._block(replace(mark, next=limit), b"")
        schema = schema_of(session, table)
        rows = session.copied(copy_query(session, table, schema, mark.after))
        after, count = _last_key(rows, schema)
        mark = replace(mark, counted=mark.counted + count)
        if not schema.key or count < rows_of_chunk(session, table):
            mark = replace(mark, next=limit, copied=True, after=None)
        else:
            mark = replace(mark, next=self.next + 1, after=after)
        data = schema.record() + record(COPIED, self.next, -1, rows) if count else b""
        if self.settings.full and mark.copied and mark.begun > 0:
            data = (data or schema.record()) + record(ENDED, self.next, -1, mark.begun.to_bytes(8, "little"))
        return self._block(mark, data)

    def _streamed(self, wait: float) -> Block | None:
        if self.end is None or self.at_end:
            session, _ = self._table()
            self.end = log_end(session)
            if self.next > self.end:
                raise lost_offsets(self.partition, self.next, 0, self.end, typed=True)
        stream = stream_of(self.settings)
        with stream.lock:
            taken = stream.take(self.partition.topic, self.next, self.stop, wait)
            if taken is None:
                return None
            reached, data = taken
            log = stream.end_before(reached)
        born = self._marks.born.get(place_of(log)[0], 0)
        server = self._server()
        return self._block(Mark(server, reached, log, copied=True, born=born), data)

    def _server(self) -> str:
        mark = self._marks.at(self.partition.topic, self.next)
        return identity(self._table()[0]) if mark is None else mark.server


def begin(session: Session, topic: str, offset: int) -> Mark:
    """Where the log of a table begins whose copy begins now, or which is not copied (`offset` STREAM)."""
    wanted = session.settings.binlog_start
    log = safe_start(session) if wanted is None else place_named(wanted)
    born = file_born(session.settings, file_of(session, place_of(log)[0]))
    mark = Mark(identity(session), offset, log, copied=offset == STREAM, born=born)
    marks_of(session.settings).begin(topic, mark)
    return mark


def learn_tail(settings: MySqlSettings, topic: str, tail: str) -> Mark:
    """What a ledger, or the block before, has kept."""
    mark = Mark.of_text(tail)
    marks_of(settings).reach(topic, mark)
    return mark


def _last_key(rows: bytes, schema: CopiedSchema) -> tuple[tuple[str, ...] | None, int]:
    """The key of the last row as texts, and the number of rows."""
    view = np.frombuffer(rows, np.uint8)
    count, width = int(count_rows(view)), len(schema.columns) + len(schema.key)
    if not count:
        return None, 0
    at, size = np.empty((width, count), np.int64), np.empty((width, count), np.int64)
    if not fill_fields(view, at, size):
        raise SourceError("the server sent a row that has not the columns that were asked for")
    places = [(int(at[i, -1]), int(size[i, -1])) for i in range(len(schema.columns), width)]
    return key_texts(schema, [rows[start : start + length] for start, length in places]), count
