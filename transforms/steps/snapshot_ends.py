"""`on_snapshot: replace`: the end of a whole snapshot deletes the rows that are older than its beginning.

A row does not tell its partition, so what the snapshot brought, and what came behind it, is read from the log once
more: a row that no message from the beginning on has written is older. It is deleted directly behind the change that
wrote it, so whatever is newer wins, also where it is read later.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from ...schemas.envelopes.decoded import Decoded
from ...schemas.errors import LostOffsetsError
from ...schemas.merging.modes.decoded_rows import shaped
from ...schemas.merging.whole_snapshots import WholeSnapshot, whole_snapshots
from ...schemas.model.change import POSITION
from ...schemas.model.ledger import Account, Commit, Ledger, TopicPartition
from ...schemas.model.modes import Mode
from ...schemas.model.position import unpack
from ...schemas.model.route import OnSnapshot, Route
from ...schemas.model.snapshot_marks import BEGINS, ROWS, Ended, SnapshotMark
from ...schemas.model.source_mark import SourceMark
from ..retry import retried
from ..sinks import Sink
from ..sources.source import SourceConnection
from .arrow_errors import told_of
from .block_decoders import BlockDecoders
from .decode import by_window
from .early_merge import marked
from .log_times import first_at
from .ready_rows import WindowItems, ready_rows
from .seen_rows import SeenRows, old_rows
from .stage import staged_behind

IDLE_SECONDS: Final = 300.0
"""After so long a producer has given up what it had not sent yet (Kafka's `delivery.timeout.ms` is two minutes)."""

SEVERAL: Final = "several connectors (source.name) write into the topic, and a row does not tell which one it is of"
TABLES: Final = "the topic holds several tables of the source ({0}), and a row does not tell which one it is of"
DEAD: Final = "some messages of the snapshot are dead letters"
LOST: Final = "the topic no longer holds the whole snapshot"


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotEnds:
    """Acts on the ends of whole snapshots of one table. `now` is the clock, in seconds since 1970."""

    job: str
    route: Route
    decoders: BlockDecoders
    now: Callable[[], float] = time.time

    def act(self, sink: Sink) -> "Acted":
        """Delete what is older than each snapshot whose end is known and has been read past in all partitions.

        Raises TableError, SinkError, SourceError; what was done before stays done.
        """
        deleted, kept = 0, ""
        while True:
            ledger = sink.ledger(self.job, self.route.table, self.route.sources)
            # The route of a stream names the first partition alone.
            if len(self.route.sources) > 1 and not any(mark.snapshots for mark in ledger.marks.values()):
                return Acted(deleted, kept)
            with closing(self.decoders.source.connect()) as connection:
                sources = self._partitions(connection)
                ledger = sink.ledger(self.job, self.route.table, sources)
                snapshot = next(iter(whole_snapshots(ledger.marks)), None)
                spans = None if snapshot is None else self._spans(connection, ledger, snapshot, sources)
            if snapshot is None or spans is None:
                return Acted(deleted, kept)
            with told_of(self.route.table, "deleting rows that a snapshot does not have"):
                done = self._end(sink, ledger, snapshot, spans)
            if done is None:
                return Acted(deleted, kept)
            deleted, kept = deleted + done.deleted, done.kept or kept

    def _partitions(self, connection: SourceConnection) -> list[TopicPartition]:
        found = connection.topics(self.route.topics)
        return [TopicPartition(topic, number) for topic in self.route.topics for number in found[topic]]

    def _spans(
        self,
        connection: SourceConnection,
        ledger: Ledger,
        snapshot: WholeSnapshot,
        sources: list[TopicPartition],
    ) -> "dict[TopicPartition, Span] | None":
        """Where the snapshot stands in each partition; None where one has not been read past its end.

        A partition in which nothing follows counts as read past once its end has been reached for a while.
        """
        starts = first_at(self.decoders.source, connection, snapshot.begin.time, sources)
        starts[snapshot.begins_in] = snapshot.begin.offset
        stops = first_at(self.decoders.source, connection, snapshot.end.time + 1, sources)
        held = connection.offsets(sources)
        idle = self.now() - snapshot.end.time / 1000 > IDLE_SECONDS
        spans = {}
        for source in sources:
            next = ledger.next.get(source, 0)
            past = source == snapshot.ends_in or next > stops[source]
            if not past and not (idle and next >= held[source][1]):
                return None
            lost = any(one.offset < held[source][0] for one in _marks(ledger, snapshot, source))
            spans[source] = Span(starts[source], stops[source], next, lost, open=not past)
        return spans

    def _end(
        self, sink: Sink, ledger: Ledger, snapshot: WholeSnapshot, spans: "Mapping[TopicPartition, Span]"
    ) -> "Acted | None":
        """Act on one snapshot, in one commit with the ledger's word that it is done.

        None where it must wait: a row is the last message of a partition whose next one may be of the same key.
        """
        connectors = {name for mark in ledger.marks.values() for name in (*mark.connectors, *mark.snapshots)}
        tables = snapshot.tables(ledger.marks)
        why = SEVERAL if len(connectors) > 1 else TABLES.format(", ".join(tables)) if len(tables) > 1 else ""
        seen = SeenRows(self.route.table)
        try:
            for source, span in spans.items() if not why else ():
                why = why or self._see(seen, source, span, snapshot.end.time)
        except LostOffsetsError:
            why = LOST
        rows = [] if why else list(old_rows(sink, self.route, seen, snapshot.end.time))
        if _places(rows) & {span.next for span in spans.values() if span.open}:
            return None
        parts = [shaped(self.route.mode, part) for part in rows]
        batches = [
            marked(piece, part.key, {}) for part in parts for one in part.changes for _, piece in by_window(one, None)
        ]
        window = WindowItems([], [staged_behind(sink, self.route, batches, None)] if batches else [])
        ready = ready_rows(sink, self.route, window)
        accounts = tuple(Account(source.topic, source.partition, -1, -1) for source in spans)
        order = Commit(self.job, accounts, ended={snapshot.connector: Ended(snapshot.end.time, why)})
        retried(f"table {self.route.table}", lambda: sink.commit(ready.table, ready.staged, order))
        return Acted(sum(batch.num_rows for part in rows for batch in part.changes), why)

    def _see(self, seen: SeenRows, source: TopicPartition, span: "Span", end: int) -> str:
        """Read a partition from the snapshot's beginning to the ledger's next offset; why that does not tell all."""
        if span.lost:
            return LOST
        if span.start >= span.next:
            return ""
        decode = self.decoders.decoder(source.topic, self.route)
        reader = self.decoders.source.reader(source, span.start, span.next)
        with closing(reader):
            while not reader.done:
                block = reader.read(1.0)
                if block is None:
                    continue
                done = decode(block)
                if any(letter.timestamp <= end for letter in done.letters):
                    return DEAD
                seen.add(done, span.stop)
        return ""


@dataclass(frozen=True, slots=True)
class Span:
    """Offsets of one partition: the snapshot stands in [start, stop), the ledger at `next`.

    `lost`: the log no longer holds all of it; `open`: no message that was read stands behind it.
    """

    start: int
    stop: int
    next: int
    lost: bool
    open: bool


def _places(rows: Sequence[Decoded]) -> set[int]:
    """The offsets that stand in the positions of these deletes."""
    words = [unpack(batch.column(POSITION))[:, 3] for part in rows for batch in part.changes]
    return {int(offset) for offsets in words for offset in offsets}


def _marks(ledger: Ledger, snapshot: WholeSnapshot, source: TopicPartition) -> list[SnapshotMark]:
    """Those of the snapshot in this partition. Rows without the first one may be of several snapshots."""
    known = ledger.marks[source].snapshots.get(snapshot.connector, ()) if source in ledger.marks else ()
    return [one for one in known if one.kind == ROWS or one.time >= snapshot.begin.time]


@dataclass(frozen=True, slots=True)
class Acted:
    """How many rows were deleted; `kept` says why those of the last snapshot were not."""

    deleted: int = 0
    kept: str = ""


def begins_again(sink: Sink, job: str, route: Route, marks: Mapping[TopicPartition, SourceMark]) -> bool:
    """Whether a snapshot begins in this commit that deletes nothing, though the table has rows of its topic."""
    if route.on_snapshot is OnSnapshot.REPLACE or route.mode is Mode.APPEND:
        return False
    begins = [(source, one) for source, mark in marks.items() for one in _begins(mark)]
    if not begins:
        return False
    known = sink.ledger(job, route.table, sorted({*route.sources, *marks})).marks
    before = len(begins) + sum(len(_begins(mark)) for mark in known.values())
    return before > 1 or any(
        (source in known and known[source].connectors)
        or any(climb.offset < one.offset for climb in marks[source].climbs)
        for source, one in begins
    )


def _begins(mark: SourceMark) -> list[SnapshotMark]:
    return [one for known in mark.snapshots.values() for one in known if one.kind == BEGINS]
