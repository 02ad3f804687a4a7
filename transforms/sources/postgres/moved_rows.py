"""Rows whose key changed while their table was copied: the copy may have them under neither key.

The log tells of such an update, but not of a large value that the update left alone (TOAST). It is looked up at the
source. What is found may be newer than the update, and then the log tells so later. A row that is not there any more
was deleted or has moved again, which the log tells later, too: so rows are looked up until the log has passed the
last look.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from ....schemas.errors import SourceError
from ..log_records import AT, HEADER, KIND, LENGTH, OFFSET, TIME, read_records, record
from .blocks import UPDATED, Column, TableSchema, by_schema
from .client import Session
from .copies import listed, literal, rows_of, shown
from .pgoutput import NULL, UNCHANGED, Rows, find_rows
from .tables import SourceTable, quoted_name, row_key, schema_of

AT_ONCE: Final = 500
"""Rows that one statement asks for."""
VISIBLE_SECONDS: Final = 60.0
NEW_ROW, NULL_VALUE, UNSENT, TEXT = (kind.encode() for kind in "Nnut")

Values = Mapping[str, bytes | None]


@dataclass(frozen=True, slots=True)
class Moved:
    """An update: its record, its new key as texts, and the columns that it does not say, by number."""

    record: tuple[int, int, int, int]
    key: tuple[str, ...]
    unsent: dict[int, Column]


def looked_up(session: Session, table: SourceTable, data: bytes, received: frozenset[int]) -> bytes | None:
    """The records with the unsent values of rows that moved; None where there are none to look up.

    `received` are the numbers of transactions that the log has told of lately. Raises SourceError.
    """
    with session.unaltered(quoted_name(table.name)):
        schema = schema_of(session, table)
        key = row_key(session, table, schema)
        moved = _moved(data, key) if key else []
        if not moved:
            return None
    # A transaction stands in the log before other sessions see it.
    _wait_for(session, received)
    with session.unaltered(quoted_name(table.name)):
        there = _there(session, table, schema_of(session, table), key, moved)
    return _replaced(data, moved, there)


def _moved(data: bytes, key: Sequence[str]) -> list[Moved]:
    view, found = read_records(data)
    moved = []
    for schema, records in by_schema(data, found):
        names = [column.name for column in schema.columns]
        records = np.ascontiguousarray(records[records[:, KIND] == UPDATED])
        if not len(records) or not set(key) <= set(names):
            continue
        rows = find_rows(view, records, len(names))
        numbers = [names.index(name) for name in key]
        for i in np.flatnonzero((rows.old == ord("K")) & (rows.size == UNCHANGED).any(axis=0)).tolist():
            unsent = {int(c): schema.columns[c] for c in np.flatnonzero(rows.size[:, i] == UNCHANGED).tolist()}
            texts = _key(data, rows, numbers, i)
            if texts is not None:
                at, size, offset, moment = (int(records[i, column]) for column in (AT, LENGTH, OFFSET, TIME))
                moved.append(Moved((at, size, offset, moment), texts, unsent))
    return sorted(moved, key=lambda one: one.record)


def _key(data: bytes, rows: Rows, numbers: Sequence[int], i: int) -> tuple[str, ...] | None:
    places = [(int(rows.at[number, i]), int(rows.size[number, i])) for number in numbers]
    if any(size <= NULL for _, size in places):
        return None
    return tuple(data[at : at + size].decode() for at, size in places)


def _wait_for(session: Session, received: frozenset[int]) -> None:
    """Until every session sees what these transactions have done."""
    deadline = time.monotonic() + VISIBLE_SECONDS
    while True:
        open_ones = session.rows("SELECT (x::text::bigint & 4294967295) FROM pg_snapshot_xip(pg_current_snapshot()) x")
        if received.isdisjoint(number for (number,) in open_ones):
            return
        if time.monotonic() > deadline:
            raise SourceError(
                f"a transaction stands in the log of {session.settings.where}, and other sessions do not see it yet: "
                "it waits, perhaps for a synchronous standby"
            )
        time.sleep(0.02)


def _there(
    session: Session, table: SourceTable, schema: TableSchema, key: Sequence[str], moved: Sequence[Moved]
) -> dict[tuple[str, ...], Values]:
    """By key the values of rows that are there now, of columns that are as the log described them."""
    wanted = {column for one in moved for column in one.unsent.values()}
    columns = [column for column in schema.columns if column in wanted]
    keys = sorted({one.key for one in moved})
    if not columns:
        return {}
    asked = ", ".join(map(shown, [*key, *(column.name for column in columns)]))
    found: dict[tuple[str, ...], Values] = {}
    for low in range(0, len(keys), AT_ONCE):
        chosen = ", ".join(f"({', '.join(map(literal, one))})" for one in keys[low : low + AT_ONCE])
        query = f"SELECT {asked} {rows_of(table)} WHERE {listed(key)} IN ({chosen})"
        for row in session.rows(query):
            values = (None if text is None else text.encode() for text in row[len(key) :])
            found[row[: len(key)]] = dict(zip((column.name for column in columns), values, strict=True))
    return found


def _replaced(data: bytes, moved: Sequence[Moved], there: Mapping[tuple[str, ...], Values]) -> bytes:
    parts, done = [], 0
    for one in moved:
        values = there.get(one.key)
        if values is None:
            continue
        at, size, offset, moment = one.record
        said = {c: values[column.name] for c, column in one.unsent.items() if column.name in values}
        parts += [data[done : at - HEADER.size], record(UPDATED, offset, moment, _with(data[at : at + size], said))]
        done = at + size
    return b"".join([*parts, data[done:]])


def _with(message: bytes, values: Mapping[int, bytes | None]) -> bytes:
    """An update with these values, by number of their columns, which it did not say."""
    p = 5 if message[5:6] == NEW_ROW else _behind(message, 6)
    p += 1
    count = int.from_bytes(message[p : p + 2], "big")
    p += 2
    parts = [message[:p]]
    for column in range(count):
        kind, begin = message[p : p + 1], p
        p += 1
        if kind == TEXT:
            p += 4 + int.from_bytes(message[p : p + 4], "big")
        value = values.get(column, b"")
        if kind != UNSENT or column not in values:
            parts.append(message[begin:p])
        else:
            parts.append(NULL_VALUE if value is None else TEXT + len(value).to_bytes(4, "big") + value)
    return b"".join(parts)


def _behind(message: bytes, p: int) -> int:
    """The place behind a row that begins at `p`."""
    count = int.from_bytes(message[p : p + 2], "big")
    p += 2
    for _ in range(count):
        kind = message[p : p + 1]
        p += 1
        if kind == TEXT:
            p += 4 + int.from_bytes(message[p : p + 4], "big")
    return p
