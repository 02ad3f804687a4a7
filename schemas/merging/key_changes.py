"""Key changes with unavailable values: the value stands in the last row of the old key.

Debezium sends a key change as delete, tombstone and create. Where the create lacks an unchanged out-of-line
value, its header `__debezium.oldkey` names the key whose last row has it. That row may lie in the same window, as one
of the `old_key_rows` of `unavailable_values`, or in the target as it was before the commit.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import pyarrow as pa

from ..model.change import MOVED, POSITION, UNAVAILABLE
from ..model.key_text import comparable, from_header
from ..model.table import Table
from .modes.current_rows import KeyValues, Row
from .unavailable_values import MOVED_AT

NOWHERE: Final = object()
Lookup = Callable[[set[KeyValues]], dict[KeyValues, Row]]
"""The target's rows of these keys before the commit."""


def filled_new_keys(
    table: Table, new_key_rows: pa.RecordBatch, old_key_rows: Iterable[pa.RecordBatch], lookup: Lookup
) -> tuple[pa.RecordBatch, int]:
    """The rows of new keys as whole rows, and how many of their values no row holds: those are NULL.

    `lookup` gives rows of the target before the commit by key (values as `comparable`); it is asked once.
    """
    asked = new_key_rows.to_pylist()
    left = [row for batch in old_key_rows for row in batch.to_pylist()]
    search = _Search(table, _by_key(table, left), {})
    olds = {key for row in (*asked, *left) if (key := old_key(table, row[MOVED])) is not None}
    own = {number: key_of(table, row) for number, row in enumerate(asked)}
    search.target.update(lookup(olds | set(search.old_rows) | set(own.values())))
    missed = 0
    for number, row in enumerate(asked):
        origin, before = old_key(table, row[MOVED]), search.target.get(own[number], {})
        for name in row[UNAVAILABLE]:
            found = search.value(origin, row[MOVED_AT], name, frozenset())
            # A replayed key change finds its old key gone, and its own row already filled.
            row[name] = before.get(name) if found is NOWHERE else found
            missed += found is NOWHERE and name not in before
    names = [name for name in new_key_rows.schema.names if name not in (UNAVAILABLE, MOVED, MOVED_AT)]
    schema = pa.schema([new_key_rows.schema.field(name) for name in names])
    whole = pa.RecordBatch.from_pylist([{name: row[name] for name in names} for row in asked], schema=schema)
    return whole, missed


@dataclass(slots=True)
class _Search:
    table: Table
    old_rows: dict[KeyValues, list[Row]]
    target: dict[KeyValues, Row]

    def value(self, key: KeyValues | None, at: bytes, name: str, seen: frozenset[tuple[KeyValues, bytes]]) -> Any:
        """The value of column `name` in the last row of `key` before the key change at position `at`, or NOWHERE."""
        if key is not None and (key, at) not in seen:
            row = self._old_row(key, at)
            if row is None:
                return self._held(key, at, name)
            elif name not in (row[UNAVAILABLE] or ()):
                return row[name]
            elif row[MOVED] is not None:
                return self.value(old_key(self.table, row[MOVED]), row[MOVED_AT], name, seen | {(key, at)})
            else:
                return self._held(key, at, name)
        return NOWHERE

    def _held(self, key: KeyValues, at: bytes, name: str) -> Any:
        """The value in the target's row of the key, unless that row came later: then another one took the key."""
        row = self.target.get(key, {})
        return row[name] if name in row and row.get(POSITION, b"") < at else NOWHERE

    def _old_row(self, key: KeyValues, at: bytes) -> Row | None:
        """The delete of the same key change: the one of its source order, else the newest before it."""
        rows = self.old_rows.get(key, [])
        same = [row for row in rows if row[POSITION][:24] == at[:24]]
        older = [row for row in rows if row[POSITION] < at]
        return max(same or older, key=lambda row: row[POSITION], default=None)


def _by_key(table: Table, rows: list[Row]) -> dict[KeyValues, list[Row]]:
    grouped: dict[KeyValues, list[Row]] = {}
    for row in rows:
        grouped.setdefault(key_of(table, row), []).append(row)
    return grouped


def key_of(table: Table, row: Row) -> KeyValues:
    """The row's key, comparable with those that headers name."""
    return tuple(comparable(row[name], table.columns.field(name).type) for name in table.key)


def old_key(table: Table, header: bytes | None) -> KeyValues | None:
    """The key that the header names, or None where it is not JSON with the key's fields."""
    if header is None:
        return None
    try:
        named = json.loads(header, parse_float=Decimal)
    except (ValueError, RecursionError):
        return None
    if isinstance(named, dict) and isinstance(named.get("payload"), dict):
        named = named["payload"]
    if not isinstance(named, dict) or not set(table.key) <= set(named):
        return None
    return tuple(from_header(named[name], table.columns.field(name).type) for name in table.key)
