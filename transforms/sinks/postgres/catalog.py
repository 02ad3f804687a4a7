"""Tables in a Postgres schema: which are Millrace's, how they are made and how they grow.

A table has the stream's columns (names and types: `columns`), `_millrace_position`, and a unique index on its
key to which nulls are equal. Beside it stands `_millrace_tombstones_<table>`. What Millrace knows of all tables:

    _millrace_tables    table_name, relation, key, columns (the stream's schema as Arrow IPC; NULL before the first
                        row), truncate, format (the version of positions). A commit holds the lock on its table's
                        row from its beginning to its end.
    _millrace_ledger    see `ledger`
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from ....schemas.errors import IncompatibleSchemaError, TableError, TerminalSinkError
from ....schemas.merging.renaming import with_names
from ....schemas.model.change import POSITION, PREFIX
from ....schemas.model.stored_format import POSITIONS
from ....schemas.model.table import Table
from ..shared.commit import HeldTable
from ..shared.damage import intact
from . import evolve
from .client import Session
from .columns import BEYOND, escaped, physical, quote, sql_type

TOMBSTONES: Final = f"{PREFIX}tombstones_"
DELETED_AT: Final = f"{PREFIX}deleted_at"
OWN_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS {tables} (table_name text PRIMARY KEY, relation text, key text[], columns bytea, "
    "truncate bytea, format integer)",
    "CREATE TABLE IF NOT EXISTS {ledger} (job text, table_name text, topic text, partition integer, next bigint, "
    "first bigint, stop bigint, committed_at timestamptz, read bigint, applied bigint, superseded bigint, "
    "filtered bigint, dead bigint, topic_id bigint, start bigint, mark text, format integer, "
    "PRIMARY KEY (job, table_name, topic, partition))",
)


@dataclass(frozen=True, slots=True)
class Kept:
    """A table as the target has it: `beyond` are the numbers of columns with a companion for what is out of range."""

    table: Table
    beyond: frozenset[int]

    @property
    def relation(self) -> str:
        return physical(self.table.name)

    def companion(self, name: str) -> str | None:
        """The column that holds what is beyond the range of this one."""
        number = self.table.columns.get_field_index(name)
        return f"{BEYOND}{number}" if number in self.beyond else None

    @property
    def tombstones(self) -> str:
        return physical(TOMBSTONES + self.table.name)


def own(session: Session) -> bool:
    """Whether the schema holds Millrace's tables."""
    return _kind(session, f"{PREFIX}ledger") is not None


def make_own(session: Session) -> None:
    """Make Millrace's tables where they are not, in a transaction of its own."""
    if own(session):
        return
    with session.transaction():
        lock_schema(session)
        for statement in OWN_TABLES:
            session.run(
                statement.format(tables=session.name(f"{PREFIX}tables"), ledger=session.name(f"{PREFIX}ledger"))
            )


def lock_schema(session: Session) -> None:
    """Let one transaction at a time make tables in the schema."""
    session.run("SELECT pg_advisory_xact_lock(hashtextextended('millrace ' || %s, 0))", [session.schema])


def lock_table(session: Session, name: str) -> HeldTable:
    """Wait for other commits of the table; then what is there, as they left it."""
    lock_row(session, name)
    return held(session, name)


def lock_row(session: Session, name: str) -> None:
    """Wait for other commits of the table."""
    tables = session.bound(f"{PREFIX}tables")
    session.run(
        f"INSERT INTO {tables} (table_name, format) VALUES (%s, %s) ON CONFLICT DO NOTHING",
        [escaped(name), POSITIONS.newest],
    )
    session.run(f"SELECT 1 FROM {tables} WHERE table_name = %s FOR UPDATE", [escaped(name)])


def held(session: Session, name: str) -> HeldTable:
    """What the target has under this name."""
    rows = session.run(
        f"SELECT key, columns, truncate, format FROM {session.bound(f'{PREFIX}tables')} WHERE table_name = %s",
        [escaped(name)],
    )
    if not rows:
        return HeldTable()
    key, columns, truncate, version = rows[0]
    POSITIONS.check(version, f"{PREFIX}tables, table {name}")
    if columns is None:
        return HeldTable(None, truncate, exists=True)
    with intact(name, f"its row in {PREFIX}tables"):
        return HeldTable(Table(name, tuple(key), pa.ipc.read_schema(pa.py_buffer(columns))), truncate, exists=True)


def locked_for_reading(session: Session, name: str) -> Kept | None:
    """The table, which does not grow before the transaction ends; None where there is none."""
    known = held(session, name).table if own(session) else None
    if known is None:
        return None
    check_untouched(session, known)
    session.run(f"LOCK TABLE {session.name(physical(name))} IN ACCESS SHARE MODE")
    known = held(session, name).table or known
    return Kept(known, check_untouched(session, known))


def names(session: Session) -> tuple[str, ...]:
    """The tables that Millrace keeps here, sorted."""
    rows = session.run(f"SELECT table_name FROM {session.name(f'{PREFIX}tables')} WHERE columns IS NOT NULL")
    return tuple(sorted(row[0] for row in rows))


def save_truncate(session: Session, name: str, position: bytes) -> None:
    """Keep the position of the newest TRUNCATE, also of a table that has no row yet."""
    session.run(
        f"UPDATE {session.bound(f'{PREFIX}tables')} SET truncate = %s WHERE table_name = %s", [position, escaped(name)]
    )


def grow(session: Session, old: Table | None, new: Table) -> Kept:
    """Make the table, or let it grow to these columns; the table as it is then.

    Raises IncompatibleSchemaError, TableError, TerminalSinkError where the target has another table of this name.
    """
    _check_physical(new)
    if old is None:
        _create(session, new)
        kept = Kept(new, frozenset())
    else:
        kept = Kept(old, check_untouched(session, old))
        if old.columns.equals(new.columns):
            return kept
        growth = evolve.Growth(old, new, kept.beyond, kept.relation, kept.tombstones)
        kept = Kept(new, evolve.grow(session, growth))
    session.run(
        f"UPDATE {session.bound(f'{PREFIX}tables')} SET relation = %s, key = %s, columns = %s WHERE table_name = %s",
        [kept.relation, list(new.key), new.columns.serialize().to_pybytes(), new.name],
    )
    return kept


def rename(session: Session, table: Table, names: Mapping[str, str]) -> None:
    """Rename columns that are not of the key. Raises TerminalSinkError where others changed the table."""
    renamed = with_names(table, names)
    _check_physical(renamed)
    check_untouched(session, table)
    target = session.name(physical(table.name))
    for old, new in names.items():
        session.run(f"ALTER TABLE {target} RENAME COLUMN {quote(physical(old))} TO {quote(physical(new))}")
    session.run(
        f"UPDATE {session.bound(f'{PREFIX}tables')} SET columns = %s WHERE table_name = %s",
        [renamed.columns.serialize().to_pybytes(), escaped(table.name)],
    )


def with_beyond(session: Session, kept: Kept, numbers: frozenset[int]) -> Kept:
    """The table with companions of these columns."""
    for number in sorted(numbers - kept.beyond):
        session.run(f"ALTER TABLE {session.name(kept.relation)} ADD COLUMN {quote(f'{BEYOND}{number}')} bigint")
    return Kept(kept.table, kept.beyond | numbers)


def _check_physical(table: Table) -> None:
    seen: dict[str, str] = {}
    for name in table.columns.names:
        twin = seen.setdefault(physical(name), name)
        if twin is not name:
            raise IncompatibleSchemaError(
                f"table {table.name}: columns {twin!r} and {name!r} have one name in Postgres, {physical(name)!r}; "
                "rename one at the source"
            )


def _kind(session: Session, relation: str) -> str | None:
    rows = session.run(
        "SELECT c.relkind::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = %s AND c.relname = %s",
        [session.schema, relation],
    )
    return rows[0][0] if rows else None


def _create(session: Session, table: Table) -> None:
    kept = Kept(table, frozenset())
    twin = session.run(
        f"SELECT table_name FROM {session.bound(f'{PREFIX}tables')} WHERE relation = %s AND table_name <> %s",
        [kept.relation, table.name],
    )
    if twin:
        raise TableError(
            f"table {table.name!r}: {twin[0][0]!r} has its name in Postgres, {kept.relation!r}; set another `to` in "
            "the job file"
        )
    for relation in (kept.relation, kept.tombstones):
        if _kind(session, relation) is not None:
            raise TerminalSinkError(
                f"schema {session.schema!r} has a table {relation!r} that Millrace did not make: rename it, or set "
                "another `to`"
            )
    position = f"{quote(POSITION)} bytea NOT NULL"
    keys = [f"{quote(physical(name))} {sql_type(table.columns.field(name).type)}" for name in table.key]
    columns = [f"{quote(physical(field.name))} {sql_type(field.type)}" for field in table.columns]
    session.run(f"CREATE TABLE {session.name(kept.relation)} ({', '.join([*columns, position])})")
    tombstones = [*keys, position, f"{quote(DELETED_AT)} timestamptz NOT NULL"]
    session.run(f"CREATE TABLE {session.name(kept.tombstones)} ({', '.join(tombstones)})")
    for relation in (kept.relation, kept.tombstones):
        index = quote(physical(f"{PREFIX}key_{relation}"))
        parts = ", ".join(quote(physical(name)) for name in table.key)
        session.run(f"CREATE UNIQUE INDEX {index} ON {session.name(relation)} ({parts}) NULLS NOT DISTINCT")
    index = quote(physical(f"{PREFIX}age_{kept.relation}"))
    session.run(f"CREATE INDEX {index} ON {session.name(kept.tombstones)} ({quote(DELETED_AT)})")


def check_untouched(session: Session, table: Table) -> frozenset[int]:
    """The numbers of the columns with a companion. Raises TerminalSinkError where others changed the table."""
    relation, there = physical(table.name), columns_there(session, table)
    place = f"schema {session.schema!r}"
    if not there:
        raise TerminalSinkError(
            f"{place}: the table {relation!r} was dropped, but its ledger stands; build it again: "
            f"millrace resync JOB --table {table.name}"
        )
    found, wanted = without_companions(there), columns_left(table)
    for name in sorted(found.keys() | wanted.keys()):
        if found.get(name) != wanted.get(name):
            state = "is gone" if name not in found else "is not Millrace's"
            if name in found and name in wanted:
                state = f"is {found[name]} and was {wanted[name]}"
            raise TerminalSinkError(
                f"{place}: the column {name!r} of table {relation!r} {state}; put the table's columns back as they were"
            )
    return frozenset(int(name.removeprefix(BEYOND)) for name in there.keys() - found.keys())


def columns_there(session: Session, table: Table) -> dict[str, str]:
    """The types of all columns that the relation has, by name; empty where there is none."""
    rows = session.run(
        "SELECT a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_class c "
        "JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid "
        "WHERE n.nspname = %s AND c.relname = %s AND a.attnum > 0 AND NOT a.attisdropped",
        [session.schema, physical(table.name)],
    )
    return dict(rows)


def without_companions(there: Mapping[str, str]) -> dict[str, str]:
    """The columns but those for what is out of range."""
    return {name: kind for name, kind in there.items() if not name.startswith(BEYOND)}


def columns_left(table: Table) -> dict[str, str]:
    """The columns as commits leave them, but those for what is out of range."""
    return {physical(field.name): sql_type(field.type) for field in table.columns} | {POSITION: "bytea"}
