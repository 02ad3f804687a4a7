"""Growth of a Postgres table in a commit's transaction: one ALTER TABLE; nested values are written anew by Arrow."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from ....schemas.errors import IncompatibleSchemaError
from ....schemas.model.table import Table, cast
from ..shared.types import plain
from .client import DataError, Session
from .columns import BEYOND, converted, is_limited, literal, physical, quote, sql_type, units_in
from .copy_format import decode, encode

BLOCKS: Final = 4_096
"""Pages of 8 KB that are read at a time."""


@dataclass(frozen=True, slots=True)
class Growth:
    """From the columns of `old` to those of `new`, in the table's relation and in that of its tombstones.

    `beyond` are the numbers of columns with a companion for what is out of range.
    """

    old: Table
    new: Table
    beyond: frozenset[int]
    relation: str
    tombstones: str


@dataclass(frozen=True, slots=True)
class ColumnTypes:
    """The stream's type of a column, as it was and as it is."""

    old: pa.DataType
    new: pa.DataType


def grow(session: Session, growth: Growth) -> frozenset[int]:
    """Bring both relations to the new columns; the numbers of those that still have a companion.

    Raises IncompatibleSchemaError where a value does not fit.
    """
    old, new, relation = growth.old, growth.new, growth.relation
    try:
        actions, left = _actions(growth)
        keys = [action for name, action in actions if name in old.key and not action.startswith("ADD")]
        for target, changes in ((relation, [action for _, action in actions]), (growth.tombstones, keys)):
            if changes:
                session.run(f"ALTER TABLE {session.name(target)} {', '.join(changes)}")
        for number in sorted(left):
            _widen_beyond(
                session, relation, number, ColumnTypes(old.columns.field(number).type, new.columns.field(number).type)
            )
    except DataError as error:
        raise IncompatibleSchemaError(
            f"table {new.name}: a value in the table does not fit the wider type ({error.diag.message_primary}); write "
            "to a new table"
        ) from error
    for field in old.columns:
        types = ColumnTypes(field.type, new.columns.field(field.name).type)
        if converted(types.old, types.new, "v") is None:
            _rewrite(session, relation, physical(field.name), types)
    return left


def _actions(growth: Growth) -> tuple[list[tuple[str, str]], frozenset[int]]:
    """What ALTER TABLE has to do, by column, and the companions that stay."""
    old, new, beyond = growth.old, growth.new, growth.beyond
    actions, left = [], set(beyond)
    for number, field in enumerate(new.columns):
        name, kind = quote(physical(field.name)), sql_type(field.type)
        if number >= len(old.columns):
            actions.append((field.name, f"ADD COLUMN {name} {kind}"))
            continue
        companion = quote(f"{BEYOND}{number}") if number in beyond else None
        made = converted(old.columns.field(number).type, field.type, name, companion)
        if made is not None and made != name:
            actions.append((field.name, f"ALTER COLUMN {name} TYPE {kind} USING {made}"))
        if companion is not None and not is_limited(field.type):
            actions.append((field.name, f"DROP COLUMN {companion}"))
            left.discard(number)
    return actions, frozenset(left)


def _widen_beyond(session: Session, relation: str, number: int, types: ColumnTypes) -> None:
    old, new = plain(types.old), plain(types.new)
    if old.equals(new) or pa.types.is_date32(new) or units_in(old, new) == 1:
        return
    companion = quote(f"{BEYOND}{number}")
    factor = units_in(old, new)
    session.run(
        f"UPDATE {session.name(relation)} SET {companion} = {companion} * {factor} WHERE {companion} IS NOT NULL"
    )


def _rewrite(session: Session, relation: str, column: str, types: ColumnTypes) -> None:
    """Read the column's values, which are JSON, as the old type and write them as the new one, some pages at a time."""
    target = session.name(relation)
    session.run(f"LOCK TABLE {target} IN SHARE ROW EXCLUSIVE MODE")
    session.run("CREATE TEMP TABLE _millrace_growing (place tid, value jsonb) ON COMMIT DROP")
    for place, values in _values(session, target, quote(column), types.old):
        cells = [place, encode.cells(cast(values, types.new))]
        session.copy_in("_millrace_growing (place, value)", encode.encode(cells))
    session.run("ANALYZE _millrace_growing")
    session.run(f"UPDATE {target} t SET {quote(column)} = g.value FROM _millrace_growing g WHERE t.ctid = g.place")
    session.run("DROP TABLE _millrace_growing")


def _values(session: Session, target: str, column: str, kind: pa.DataType) -> Iterator[tuple[encode.Cells, pa.Array]]:
    ((size,),) = session.run(f"SELECT pg_relation_size({literal(target)}::regclass) / 8192 + 1")
    for first in range(0, size, BLOCKS):
        query = (
            f"SELECT ctid, {column} FROM {target} WHERE {column} IS NOT NULL "
            f"AND ctid >= '({first},0)'::tid AND ctid < '({first + BLOCKS},0)'::tid"
        )
        for place, cells in list(session.copy_out(query, 2)):
            yield place, decode.column(kind, cells)
