"""Events of the binlog to the records of each table that a job reads (`sources.log_records`), in the order of the log.

S  one byte, M of MariaDB or Y of MySQL, and the body of a TABLE_MAP; or J and JSON: the schema of a copy
C  rows of a copy (`packets.payloads`); the offset is the chunk's number
W  a copy that is made anew by each run has all rows (`sources.rounds`)
R  an event of rows, without its checksum; the offset is where its transaction begins
E  a statement that leaves no row in the table: its text
L  what the log does not hold the rows of: its text
"""

import itertools
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ....schemas.errors import SourceError
from ..log_records import SCHEMA, packed, record
from ..table_queues import Piece
from .binlog import event_types as types
from .binlog.events import Events
from .binlog.payloads import plain
from .binlog.table_map import table_map
from .statements import EMPTIES, effects
from .transactions import XA_PREPARE, Statement, Transactions

COPIED, ROWS, EMPTIED, LOST = (ord(kind) for kind in "CREL")
OF_MARIADB, OF_MYSQL = b"M", b"Y"
COMPRESSED: Final = (types.TRANSACTION_PAYLOAD, *types.PLAIN_OF)
UNTOLD: Final = {18: "rows of a LOAD DATA that was logged as a statement", 26: "an incident: the server lost events"}
"""Events that tell of changes which the log does not hold, in any table."""
PREPARED: Final = "rows of a transaction that was prepared by XA, which may be rolled back"

Whole = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Whole transactions. By event `offset`, where its transaction begins, and `time`, in milliseconds since 1970."""

    events: Events
    offset: Whole
    time: Whole
    found: Transactions


@dataclass(slots=True)
class LogTables:
    """The tables as the log has described them; `wanted` are the topics that are read.

    `folded`: the case of tables' names does not count at this server, and statements may write them in any.
    """

    wanted: Collection[str]
    mariadb: bool
    folded: bool = False
    _described: dict[tuple[int, int], tuple[str, bytes]] = field(default_factory=dict)
    _newest: dict[int, tuple[str, bytes]] = field(default_factory=dict)
    _parts: dict[str, list[Piece]] = field(default_factory=lambda: defaultdict(list))

    def forget(self) -> None:
        """A new file begins: a server that was restarted gives its tables other numbers."""
        self._described.clear()
        self._newest.clear()

    def sort(self, stretch: Stretch) -> dict[str, list[Piece]]:
        """The records of each table. Raises SourceError for events that cannot be read."""
        self._parts = defaultdict(list)
        events, found = stretch.events, stretch.found
        begin = found.begin[: len(events)]
        statements = {statement.event: statement for statement in found.statements if statement.event < len(events)}
        prepared = set(begin[events.kind == XA_PREPARE].tolist())
        # One transaction at a time, for its events are other ones when they are unpacked.
        special = {*begin[np.isin(events.kind, COMPRESSED)].tolist(), *prepared}
        untold = set(np.flatnonzero(np.isin(events.kind, list(UNTOLD))).tolist())
        behind = (self._after(begin, first) for first in special)
        edges = sorted({0, len(events), *statements, *special, *behind, *untold})
        for low, high in itertools.pairwise(edges):
            chosen, owner = np.arange(low, high), int(begin[low])
            offset, time = int(stretch.offset[low]), int(stretch.time[low])
            if low in untold:
                self._lose(UNTOLD[int(events.kind[low])], offset, time)
            if low in statements:
                self._state(statements[low], offset, time)
                chosen = chosen[1:]
            if owner in special:
                for part in plain(events.only(chosen)):
                    self._add(part, np.full(len(part), offset), np.full(len(part), time), lost=owner in prepared)
            else:
                self._add(events.only(chosen), stretch.offset[chosen], stretch.time[chosen], lost=False)
        return self._parts

    @staticmethod
    def _after(begin: Whole, first: int) -> int:
        """The number of the event behind the transaction that begins with `first`."""
        return int(np.flatnonzero(begin == first)[-1]) + 1

    def _lose(self, what: str, offset: int, time: int) -> None:
        for topic in self.wanted:
            self._parts[topic].append(Piece(offset, offset, record(LOST, offset, time, what.encode())))

    def _state(self, statement: Statement, offset: int, time: int) -> None:
        for topic, how in effects(statement.database, statement.text, self.wanted, folded=self.folded):
            kind = EMPTIED if how == EMPTIES else LOST
            self._parts[topic].append(Piece(offset, offset, record(kind, offset, time, statement.text.encode())))

    def _add(self, events: Events, offset: Whole, time: Whole, *, lost: bool) -> None:
        """The rows of events that follow one another."""
        numbers = events.tables()
        maps = events.kind == types.TABLE_MAP
        by_topic: dict[str, list[tuple[Whole, bytes]]] = defaultdict(list)
        for number in np.unique(numbers[numbers >= 0]):
            mine = np.flatnonzero(numbers == number)
            described, rows = mine[maps[mine]], mine[~maps[mine]]
            sizes = events.stop[described] - events.start[described]
            which = np.searchsorted(described, rows) - 1
            early = rows[which < 0]
            if len(early):
                topic, schema = self._described_before(events, int(early[0]), int(number))
                if topic in self.wanted:
                    by_topic[topic].append((early, schema))
                rows, which = rows[which >= 0], which[which >= 0]
            if len(described):
                self._newest[int(number)] = self._table(events, int(described[-1]), int(number), int(sizes[-1]))
            for size in np.unique(sizes[which]):
                chosen = rows[sizes[which] == size]
                at = int(described[int(which[np.searchsorted(rows, chosen[0])])])
                topic, schema = self._table(events, at, int(number), int(size))
                if topic in self.wanted:
                    by_topic[topic].append((chosen, schema))
        spans = np.column_stack([np.full(len(events), ROWS), offset, time, events.start - types.HEADER,
                                 events.stop - events.start + types.HEADER])  # fmt: skip
        for topic, groups in by_topic.items():
            self._parts[topic] += _pieces(events, spans, groups, lost=lost)

    def _described_before(self, events: Events, row: int, number: int) -> tuple[str, bytes]:
        """The table of rows whose description stands in a part before: a large transaction is unpacked in parts."""
        if number not in self._newest:
            raise events.failed(row, "rows of a table that was not described before")
        return self._newest[number]

    def _topic(self, name: str) -> str:
        """The topic of a table that the log calls so."""
        if not self.folded or name in self.wanted:
            return name
        return next((topic for topic in self.wanted if topic.casefold() == name.casefold()), name)

    def _table(self, events: Events, at: int, number: int, size: int) -> tuple[str, bytes]:
        """The topic of a TABLE_MAP, and its S record. Raises SourceError."""
        known = self._described.get((number, size))
        if known is None:
            body = events.body(at)
            try:
                table = table_map(body, mariadb=self.mariadb)
            except SourceError as error:
                raise events.failed(at, str(error)) from None
            mark = OF_MARIADB if self.mariadb else OF_MYSQL
            known = self._topic(f"{table.database}.{table.table}"), record(SCHEMA, 0, -1, mark + body)
            self._described[number, size] = known
        return known


def _pieces(events: Events, spans: Whole, groups: list[tuple[Whole, bytes]], *, lost: bool) -> list[Piece]:
    """The records of one table's row events; of each group the events' numbers and their schema."""
    rows = np.concatenate([chosen for chosen, _ in groups])
    owner = np.repeat(np.arange(len(groups)), [len(chosen) for chosen, _ in groups])
    order = np.argsort(rows, kind="stable")
    rows, owner = rows[order], owner[order]
    if lost:
        offset, time = int(spans[rows[0], 1]), int(spans[rows[0], 2])
        return [Piece(offset, offset, record(LOST, offset, time, PREPARED.encode()))]
    edges = [0, *(np.flatnonzero(np.diff(owner)) + 1).tolist(), len(rows)]
    pieces = []
    for low, high in itertools.pairwise(edges):
        mine = np.ascontiguousarray(spans[rows[low:high]])
        data = groups[int(owner[low])][1] + packed(events.data, mine).tobytes()
        pieces.append(Piece(int(mine[0, 1]), int(mine[-1, 1]), data))
    return pieces
