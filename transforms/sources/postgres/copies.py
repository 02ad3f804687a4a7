"""The copy of a table: chunks in the order of its key, each as it is when it is read.

A chunk begins behind the key of the one before, so no row is left out, unless its key changes meanwhile: what the log
does not say of such a row is looked up (`moved_rows`). Pages would not do: rows move there with every update, and all
when the table is written anew (VACUUM FULL, CLUSTER). A table without a key is read by pages all the same: its log has
whole rows, and one that was written anew meanwhile is told.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from ....schemas.errors import LostOffsetsError
from .blocks import TableSchema
from .client import Session
from .marks import Mark
from .pgoutput import last_row
from .tables import SourceTable, quoted_name, row_key

CHUNK_BYTES: Final = 4 << 20
FIRST_ROWS: Final = 256
FEWEST_ROWS, MOST_ROWS, GROWTH = 16, 50_000, 8
CHUNK_PAGES: Final = 512
STORAGE: Final = (
    "SELECT coalesce(pg_relation_filenode(%s), 0)::bigint, pg_relation_size(%s) / current_setting('block_size')::int"
)


def next_chunk(session: Session, table: SourceTable, schema: TableSchema, mark: Mark) -> tuple[bytes, Mark]:
    """Rows of a binary copy, and the mark behind them, whose `next` is still to be set.

    The table stays as it is until the end of the session's transaction. Raises SourceError, LostOffsetsError.
    """
    key = row_key(session, table, schema)
    if not key:
        return _by_pages(session, table, schema, mark)
    chosen = session.settings.copies.chunk_rows
    wanted = chosen or mark.rows or FIRST_ROWS
    behind = None if mark.after is None else f"{listed(key)} > ({', '.join(map(literal, mark.after))})"
    where = _where(session, table, behind)
    order = f" ORDER BY {', '.join(map(quoted, key))} LIMIT {wanted}"
    data = session.copied(_query(schema, f"{rows_of(table)}{where}{order}"))
    count, last = last_row(np.frombuffer(data, np.uint8))
    mark = replace(mark, counted=mark.counted + count)
    if count < wanted:
        return data, replace(mark, after=None, copied=True)
    fitting = int(wanted * CHUNK_BYTES / len(data))
    after = _texts(data[last:], [[column.name for column in schema.columns].index(name) for name in key])
    rows = max(FEWEST_ROWS, min(fitting, GROWTH * wanted, MOST_ROWS))
    return data, replace(mark, after=after, rows=rows)


def _by_pages(session: Session, table: SourceTable, schema: TableSchema, mark: Mark) -> tuple[bytes, Mark]:
    """Chunks of pages; a partitioned table is one chunk."""
    if table.kind == "p":
        data = session.copied(_query(schema, rows_of(table) + _where(session, table)))
        return data, replace(_counted(mark, data), copied=True)
    ((file, pages),) = session.rows(STORAGE, (table.oid, table.oid))
    if mark.after is not None and file != mark.file:
        raise LostOffsetsError(
            f"{table.name} was written anew while it was copied (VACUUM FULL, CLUSTER, or a change of a column), and "
            "has no key by which the copy could go on; nothing was skipped. For a new copy, remove the table from the "
            "target and run again"
        )
    low = 0 if mark.after is None else int(mark.after[0])
    high = low + CHUNK_PAGES
    where = _where(session, table, f"ctid >= '({low},0)' AND ctid < '({high},0)'")
    data = session.copied(_query(schema, rows_of(table) + where))
    mark = _counted(mark, data)
    if high >= pages:
        return data, replace(mark, after=None, copied=True)
    return data, replace(mark, after=(str(high),), file=file)


def _counted(mark: Mark, data: bytes) -> Mark:
    return replace(mark, counted=mark.counted + last_row(np.frombuffer(data, np.uint8))[0])


def _where(session: Session, table: SourceTable, place: str | None = None) -> str:
    """Which rows: those of the job's condition, at this place."""
    conditions = [part for part in (session.settings.copies.where(table.name), place) if part is not None]
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""


def _texts(row: bytes, places: Sequence[int]) -> tuple[str, ...]:
    """The texts of these fields of the row."""
    fields, p = [], 2
    for _ in range(int.from_bytes(row[:2], "big")):
        size = int.from_bytes(row[p : p + 4], "big", signed=True)
        fields.append(row[p + 4 : p + 4 + max(size, 0)])
        p += 4 + max(size, 0)
    return tuple(fields[place].decode() for place in places)


def _query(schema: TableSchema, rows: str) -> str:
    return f"COPY (SELECT {', '.join(shown(c.name) for c in schema.columns)} {rows}) TO STDOUT (FORMAT binary)"


def rows_of(table: SourceTable) -> str:
    """FROM a table: of a partitioned one the partitions too, of another one only its own rows."""
    return f"FROM {'' if table.kind == 'p' else 'ONLY '}{quoted_name(table.name)}"


def shown(name: str) -> str:
    """A column's value as the text that the log has, which a cast to text has not always."""
    return f"CASE WHEN num_nulls({quoted(name)}) = 0 THEN concat({quoted(name)}) END"


def listed(names: Sequence[str]) -> str:
    """Columns as a row."""
    return f"({', '.join(map(quoted, names))})"


def quoted(name: str) -> str:
    """A name for SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text for SQL; compared with a column, it is of the column's type."""
    return "'" + text.replace("'", "''") + "'"
