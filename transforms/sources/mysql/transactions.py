"""Where the transactions of a stretch of the binlog begin and end."""

from dataclasses import dataclass
from typing import Final

import numba
import numpy as np
from numpy.typing import NDArray

from ....schemas.loops import array, compile_ahead
from .binlog import event_types as types
from .binlog.control import query
from .binlog.events import Events
from .binlog.payloads import plain

Whole = NDArray[np.int64]
XA_PREPARE: Final = 38
GTIDS: Final = (types.GTID, types.ANONYMOUS_GTID, types.TAGGED_GTID, types.MARIADB_GTID)
ENDS: Final = (types.XID, XA_PREPARE, types.TRANSACTION_PAYLOAD)
QUERIES: Final = (types.QUERY, types.QUERY_COMPRESSED)
FLAGS_OF_GTID: Final = 12
"""Where MariaDB's flags stand in the body of its GTID; the lowest says that one statement follows and no COMMIT."""
NOTHING, ANNOUNCED, BEGUN, ENDED, STATEMENT = range(5)
"""What an event does: a transaction is announced, of which it is not known yet whether it is one statement; rows
follow until it ends; it ends; a statement, which is the end of a transaction that was only announced."""


@dataclass(frozen=True, slots=True)
class Statement:
    """The text of a statement that is more than a bracket; `event` is its number."""

    event: int
    database: str
    text: str


@dataclass(frozen=True, slots=True)
class Transactions:
    """By event whether a transaction is open behind it, and the number of the event that begins its transaction."""

    open: NDArray[np.bool_]
    begin: Whole
    statements: list[Statement]

    @property
    def whole(self) -> int:
        """How many events belong to transactions that have ended."""
        closed = np.flatnonzero(~self.open)
        return int(closed[-1]) + 1 if len(closed) else 0


def may_end(events: Events) -> bool:
    """Whether a transaction may end here."""
    return bool(np.isin(events.kind, (*ENDS, *QUERIES)).any())


def transactions(events: Events) -> Transactions:
    """What is known where nothing is open before the first event."""
    acts = np.full(len(events), NOTHING, np.int64)
    acts[np.isin(events.kind, GTIDS)] = ANNOUNCED
    of_mariadb = events.of_kind(types.MARIADB_GTID)
    acts[of_mariadb[events.data[events.start[of_mariadb] + FLAGS_OF_GTID] & 1 == 0]] = BEGUN
    acts[np.isin(events.kind, ENDS)] = ENDED
    statements = _statements(events, acts)
    open_after = np.empty(len(events), np.bool_)
    begin = np.empty(len(events), np.int64)
    follow(acts, open_after, begin)
    return Transactions(open_after, begin, statements)


def _statements(events: Events, acts: Whole) -> list[Statement]:
    """Sets what statements do; those that are more than a bracket are given back."""
    found = events.of_kind(*QUERIES)
    begins, commits = _ends_with(events, found, b"\0BEGIN"), _ends_with(events, found, b"\0COMMIT")
    acts[found[begins]] = BEGUN
    acts[found[commits]] = ENDED
    statements = []
    for i in found[~begins & ~commits]:
        (one,) = plain(events.only(np.array([i])))
        said = query(one.body(0))
        words = said.text.upper().split(None, 2)
        if words[:1] == ["ROLLBACK"] and len(words) == 1:
            acts[i] = ENDED
        elif words[:2] in (["XA", "START"], ["XA", "BEGIN"]):
            acts[i] = BEGUN
        elif words[:2] in (["XA", "COMMIT"], ["XA", "ROLLBACK"]):
            acts[i] = ENDED
        elif words[:2] == ["XA", "END"] or words[:1] in (["SAVEPOINT"], ["ROLLBACK"], ["RELEASE"]):
            acts[i] = NOTHING
        else:
            acts[i] = STATEMENT
            statements.append(Statement(int(i), said.database, said.text))
    return statements


def _ends_with(events: Events, chosen: Whole, text: bytes) -> NDArray[np.bool_]:
    """By event of `chosen` whether its body ends so."""
    places = events.stop[chosen][:, None] - len(text) + np.arange(len(text))
    return (events.data[np.maximum(places, 0)] == np.frombuffer(text, np.uint8)).all(axis=1)


@compile_ahead((array(np.int64), array(np.bool_), array(np.int64)))
@numba.njit(cache=True, nogil=True)
def follow(acts, open_after, begin):  # type: ignore[no-untyped-def]
    """Fill `open_after` and `begin`; an event outside of a transaction begins with itself."""
    state, first = 0, -1
    for i in range(len(acts)):
        act = acts[i]
        if act == 1 or (act == 2 and state == 0):
            first = i
        if act == 1:
            state = 1
        elif act == 2:
            state = 2
        begin[i] = first if state > 0 else i
        if act == 3 or (act == 4 and state == 1):
            state = 0
        open_after[i] = state > 0
