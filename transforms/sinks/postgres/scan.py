"""Rows of a Postgres table as Arrow batches: all of them, or those of some keys."""

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from . import staging
from .catalog import Kept
from .client import Session
from .columns import physical, quote
from .copy_format import decode
from .merge import AT, constant
from .staging import Part


def read(session: Session, kept: Kept, schema: pa.Schema, conditions: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """These columns of the rows `t` that meet one of the conditions: at least one, and they exclude one another.

    65,536 rows or 32 MB at a time. Nothing else may run meanwhile.
    """
    found = [f"t.{quote(physical(name))}" for name in schema.names]
    companions = {name: kept.companion(name) for name in schema.names}
    more = [companion for companion in companions.values() if companion is not None]
    select = (
        f"SELECT {', '.join([*found, *(f't.{quote(name)}' for name in more)])} FROM {session.name(kept.relation)} t"
    )
    query = " UNION ALL ".join(f"{select} WHERE {condition}" for condition in conditions)
    for cells in session.copy_out(query, len(found) + len(more)):
        beyond = dict(zip(more, cells[len(found) :], strict=True))
        arrays = [
            decode.column(field.type, one, beyond.get(companions[field.name] or ""))
            for field, one in zip(schema, cells, strict=False)
        ]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def find(session: Session, kept: Kept, keys: pa.Table, schema: pa.Schema, upto: bytes | None) -> pa.Table:
    """These columns of the rows whose values are those of a row of `keys`, of the same types; in a transaction.

    The keys are copied into a table beside it. NULL equals NULL: keys that are NULL in other columns are other joins,
    each of which the index on the key can serve.
    """
    below = "true" if upto is None else f"t.{AT} <= {constant(upto)}"
    found: list[pa.RecordBatch] = []
    for batch in keys.combine_chunks().to_batches():
        part = staging.put_keys(session, kept.table.name, batch)
        conditions = [f"{below} AND {_among(kept, part, nulls)}" for nulls in _null_columns(batch)]
        found += read(session, kept, schema, conditions)
        session.run(f"DROP TABLE {part.relation}")
    return pa.Table.from_batches(found, schema)


def _null_columns(keys: pa.RecordBatch) -> list[Mapping[str, bool]]:
    """In which columns the keys are NULL together: each of the sets that there are, of the columns that have NULLs."""
    names = [name for name in keys.schema.names if keys.column(name).null_count]
    if not names:
        return [{}]
    nulls = pa.table({f"{number}": pc.is_null(keys.column(name)) for number, name in enumerate(names)})
    rows = nulls.group_by(nulls.column_names).aggregate([]).to_pylist()
    return [dict(zip(names, row.values(), strict=True)) for row in rows]


def _among(kept: Kept, part: Part, nulls: Mapping[str, bool]) -> str:
    """The condition that the row `t` has one of the keys that are NULL in these columns."""
    tests = []
    for number, name in enumerate(part.table.columns.names):
        mine, theirs = f"k.c{number}", f"t.{quote(physical(name))}"
        if nulls.get(name):
            tests.append(f"{mine} IS NULL AND {theirs} IS NULL")
            continue
        tests.append(f"{mine} = {theirs}")
        companion = kept.companion(name)
        beyond = f"k.b{number}" if f"b{number}" in part.columns else None
        if companion is not None or beyond is not None:
            held = "NULL::bigint" if companion is None else f"t.{quote(companion)}"
            tests.append(f"{beyond or 'NULL::bigint'} IS NOT DISTINCT FROM {held}")
    return f"EXISTS (SELECT FROM {part.relation} k WHERE {' AND '.join(tests)})"
