"""Staged deltas in Postgres: each an unlogged table in the schema, `_millrace_staged_<version>_<time>_<number>`.

Columns: `c<n>` for the n-th of the stream, `b<n>` for what is beyond its type's range, and `op`, `position`, `source`,
`unavailable` (JSON). A key column without NULL is NOT NULL here. The time is the server's, in seconds, hexadecimal:
tables that a killed process left are dropped after a day. A crash of the server empties unlogged tables, so a commit
counts the rows.
"""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from ....schemas.errors import TableError
from ....schemas.model.change import CHANGE_FIELDS, OP, POSITION, PREFIX, SOURCE, UNAVAILABLE, UNAVAILABLE_TYPE
from ....schemas.model.stored_format import STAGED_ROWS
from ....schemas.model.table import Table, conform
from .client import PostgresError, Session
from .columns import sql_type
from .copy_format import decode, encode

STAGED: Final = f"{PREFIX}staged_"
LEFT_BEHIND_SECONDS: Final = 86_400
LEFT_ALONE: Final = ("55P03", "42501")
"""SQLSTATEs of a table that a commit holds, and of another role's."""
OWN: Final = {OP: "op", POSITION: "position", SOURCE: "source", UNAVAILABLE: "unavailable"}
OWN_TYPES: Final = {OP: "smallint NOT NULL", POSITION: "bytea NOT NULL", SOURCE: "integer NOT NULL"}


@dataclass(frozen=True, slots=True)
class Part:
    """A staged delta as a commit finds it: `relation` as SQL names it, its columns, and those that are NOT NULL."""

    table: Table
    relation: str
    columns: frozenset[str]
    filled: frozenset[str]


def put(session: Session, table: Table, delta: pa.RecordBatch) -> str:
    """Stage the rows in one transaction; the name of their table."""
    with session.transaction(durable=False):
        name = _new_name(session)
        _fill(session, _unlogged(session, name), table, delta)
    return name


def put_keys(session: Session, table: str, keys: pa.RecordBatch) -> Part:
    """The keys in a table of this transaction, which has to drop it; needs no other right than `put` does."""
    name, mine = _new_name(session), Table(table, (), keys.schema)
    columns, filled = _fill(session, _unlogged(session, name), mine, keys)
    session.run(f"ANALYZE {session.name(name)}")
    return Part(mine, session.name(name), frozenset(columns), frozenset(filled))


def _new_name(session: Session) -> str:
    ((now,),) = session.run("SELECT extract(epoch FROM clock_timestamp())::bigint")
    return f"{STAGED}{STAGED_ROWS.newest}_{now:x}_{uuid.uuid4().hex}"


def _unlogged(session: Session, name: str) -> tuple[str, str, str]:
    relation = session.name(name)
    return f"CREATE UNLOGGED TABLE {relation}", relation, "WITH (autovacuum_enabled = false)"


def put_again(session: Session, table: Table, part: Part) -> Part:
    """The rows of `part` in the columns of `table`, in a temporary table of this transaction."""
    rows = pa.Table.from_batches(list(read(session, part))).combine_chunks().to_batches()[0]
    wanted = conform(rows, pa.schema([*table.columns, *list(rows.schema)[len(part.table.columns) :]]))
    name = f"{STAGED}again_{uuid.uuid4().hex}"
    columns, filled = _fill(session, (f"CREATE TEMP TABLE {name}", name, "ON COMMIT DROP"), table, wanted)
    return Part(table, name, frozenset(columns), frozenset(filled))


def _fill(
    session: Session, names: tuple[str, str, str], table: Table, delta: pa.RecordBatch
) -> tuple[set[str], set[str]]:
    """Make the table and copy the rows in; its columns, and those declared NOT NULL."""
    cells: list[encode.Cells] = []
    declared: dict[str, str] = {}
    filled = set()
    for number, field in enumerate(table.columns):
        values = delta.column(field.name)
        cells.append(encode.cells(values))
        declared[f"c{number}"] = sql_type(field.type)
        if field.name in table.key and not values.null_count:
            declared[f"c{number}"] += " NOT NULL"
            filled.add(f"c{number}")
        beyond = encode.beyond(values)
        if beyond is not None:
            _refuse_key(table, field.name)
            cells.append(encode.cells(beyond))
            declared[f"b{number}"] = "bigint"
    for name, own in OWN.items():
        if name in delta.schema.names:
            cells.append(encode.cells(delta.column(name)))
            declared[own] = OWN_TYPES.get(name, "jsonb")
    make, relation, more = names
    session.run(f"{make} ({', '.join(f'{name} {kind}' for name, kind in declared.items())}) {more}")
    session.copy_in(f"{relation} ({', '.join(declared)})", encode.encode(cells))
    return set(declared), filled


def _refuse_key(table: Table, name: str) -> None:
    if name in table.key:
        raise TableError(
            f"table {table.name}: the key column {name!r} holds a date or time beyond Postgres' range; set another "
            "`key` in the job file, or send the column as text"
        )


def find(session: Session, names: Sequence[str], tables: Sequence[Table]) -> list[Part] | None:
    """The staged tables of these names; None where one is gone, or the rows of one. Raises TerminalSinkError."""
    rows = session.run(
        "SELECT c.relname, a.attname, a.attnotnull FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "JOIN pg_attribute a ON a.attrelid = c.oid WHERE n.nspname = %s AND c.relname = ANY(%s) AND a.attnum > 0",
        [session.schema, list(names)],
    )
    parts = []
    for name, table in zip(names, tables, strict=True):
        STAGED_ROWS.check(name.removeprefix(STAGED).partition("_")[0], name)
        columns = frozenset(column for relation, column, _ in rows if relation == name)
        filled = frozenset(column for relation, column, full in rows if relation == name and full)
        if not columns or not session.run(f"SELECT 1 FROM {session.name(name)} LIMIT 1"):
            return None
        parts.append(Part(table, session.name(name), columns, filled))
    return parts


def read(session: Session, part: Part) -> Iterable[pa.RecordBatch]:
    """The staged rows, with Millrace's columns."""
    fields = {f"c{number}": field for number, field in enumerate(part.table.columns)}
    fields |= {OWN[field.name]: field for field in CHANGE_FIELDS}
    if "unavailable" in part.columns:
        fields["unavailable"] = pa.field(UNAVAILABLE, UNAVAILABLE_TYPE)
    beyond = [name for name in sorted(part.columns) if name.startswith("b")]
    names = [*fields, *beyond]
    for cells in session.copy_out(f"SELECT {', '.join(names)} FROM {part.relation}", len(names)):
        found = dict(zip(names, cells, strict=True))
        columns = [decode.column(field.type, found[name], found.get(f"b{name[1:]}")) for name, field in fields.items()]
        yield pa.RecordBatch.from_arrays(columns, schema=pa.schema(list(fields.values())))


def drop(session: Session, names: Iterable[str]) -> None:
    """Drop staged tables; those that are gone, or that a commit holds, are left."""
    for name in names:
        try:
            with session.transaction(durable=False):
                session.run(f"SET LOCAL lock_timeout = '1s'; DROP TABLE IF EXISTS {session.name(name)}")
        except PostgresError as error:
            if error.sqlstate not in LEFT_ALONE:
                raise


def left_behind(session: Session) -> list[str]:
    """Staged tables of more than a day ago, by the server's clock."""
    rows = session.run(
        "SELECT c.relname, extract(epoch FROM clock_timestamp())::bigint FROM pg_class c "
        "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname ~ %s",
        [session.schema, f"^{STAGED}[0-9]+_[0-9a-f]{{1,12}}_[0-9a-f]{{32}}$"],
    )
    return [name for name, now in rows if int(name[len(STAGED) :].split("_")[1], 16) < now - LEFT_BEHIND_SECONDS]
