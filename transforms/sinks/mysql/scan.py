"""Rows of a MySQL table as Arrow batches: all of them, or those of some keys."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from ....schemas.model.table import Table
from . import staging
from .catalog import Kept
from .client import Session
from .columns import physical, quote, shown
from .merge import AT, constant
from .row_text import decode
from .staging import Part


@dataclass(frozen=True, slots=True)
class Rows:
    """Which rows of the table `t` a statement reads: what stands before its name, and behind it."""

    before: str = ""
    behind: str = ""


ALL: Final = Rows()


def read(session: Session, kept: Kept, schema: pa.Schema, rows: Rows = ALL) -> Iterator[pa.RecordBatch]:
    """These columns of the rows.

    65,536 rows or 32 MB at a time. Nothing else may run meanwhile.
    """
    found = [shown(field.type, f"t.{quote(physical(field.name))}") for field in schema]
    companions = {name: kept.companion(name) for name in schema.names}
    more = [companion for companion in companions.values() if companion is not None]
    chosen = ", ".join([*found, *(f"t.{quote(name)}" for name in more)])
    query = f"SELECT {chosen} FROM {rows.before}{session.name(kept.relation)} t{rows.behind}"
    for answer in session.answer(query, len(found) + len(more)):
        beyond = dict(zip(more, answer[len(found) :], strict=True))
        arrays = [
            decode.column(field.type, one, beyond.get(companions[field.name] or ""))
            for field, one in zip(schema, answer, strict=False)
        ]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def find(session: Session, kept: Kept, keys: pa.Table, schema: pa.Schema, upto: bytes | None) -> pa.Table:
    """These columns of the rows whose values are those of a row of `keys`, of the same types. NULL equals NULL.

    The keys are loaded into a table beside it.
    """
    below = "true" if upto is None else f"t.{AT} <= {constant(upto)}"
    found: list[pa.RecordBatch] = []
    for batch in keys.combine_chunks().to_batches():
        of_key = tuple(name for name in batch.schema.names if name in kept.table.key)
        part = staging.put_rows(session, Table(kept.table.name, of_key, batch.schema), batch)
        same = " AND ".join(_pairs(kept, part, batch))
        once = f"(SELECT DISTINCT {', '.join(sorted(part.columns))} FROM {part.relation})"
        found += read(session, kept, schema, Rows(f"{once} k STRAIGHT_JOIN ", f" ON {same} WHERE {below}"))
        session.run(f"DROP TABLE {part.relation}")
    return pa.Table.from_batches(found, schema)


def _pairs(kept: Kept, part: Part, keys: pa.RecordBatch) -> Iterator[str]:
    """What has to hold of a row `t` and a key `k`."""
    for number, name in enumerate(keys.schema.names):
        companion = kept.companion(name)
        odd = f"b{number}" in part.columns
        equal = "<=>" if odd or companion is not None or keys.column(name).null_count else "="
        yield f"k.c{number} {equal} t.{quote(physical(name))}"
        if odd or companion is not None:
            held = "NULL" if companion is None else f"t.{quote(companion)}"
            yield f"{f'k.b{number}' if odd else 'NULL'} <=> {held}"
