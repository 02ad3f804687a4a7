"""Tables in a MySQL database: which are Millrace's, how they are made, and what is there of them.

A table has the stream's columns (names and types: `columns`), `_millrace_position`, and a primary key. Beside it stands
`_millrace_tombstones_<table>`. What Millrace knows of all tables:

    _millrace_tables    table_name, relation, key (JSON), columns (the stream's schema as Arrow IPC; NULL before the
                        first row), growing (that of a growth that has begun, see `evolve`), swapping (see `swap`),
                        truncated (position), commits (their number), format (the version of positions)
    _millrace_ledger    see `ledger`

MySQL commits whatever is open before each CREATE and ALTER TABLE, so a commit does these first, under a lock by name.
Its transaction then holds the table's row in `_millrace_tables`, and is undone where `commits` is not what it was.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from ....schemas.errors import IncompatibleSchemaError, TableError, TerminalSinkError, TransientSinkError
from ....schemas.model.change import POSITION, PREFIX
from ....schemas.model.stored_format import POSITIONS
from ....schemas.model.table import Table
from ..shared.commit import HeldTable
from ..shared.damage import intact
from .client import Session
from .columns import BEYOND, POSITION_TYPE, column_type, is_limited, physical, quote

TABLES: Final = f"{PREFIX}tables"
LEDGER: Final = f"{PREFIX}ledger"
TOMBSTONES: Final = f"{PREFIX}tombstones_"
DELETED_AT: Final = f"{PREFIX}deleted_at"
GROWN: Final = f"{PREFIX}grown_"
ENGINE: Final = "ENGINE=InnoDB ROW_FORMAT=DYNAMIC"
NAME: Final = "varchar(255)"
COUNTS: Final = ("next", "first", "stop", "read", "applied", "superseded", "filtered", "dead", "topic_id", "start")
WIDTH: Final = re.compile(r"^(tinyint|smallint|mediumint|int|bigint)\(\d+\)")
WAIT_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Kept:
    """A table as the target has it: `beyond` are the numbers of columns with a companion for what is out of range."""

    table: Table
    beyond: frozenset[int] = frozenset()

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


@dataclass(frozen=True, slots=True)
class Known:
    """The table's row in `_millrace_tables`."""

    name: str
    table: Table | None = None
    growing: Table | None = None
    truncate: bytes | None = None
    swapping: str | None = None
    commits: int = 0
    exists: bool = False

    @property
    def unfinished(self) -> bool:
        """Whether a growth or a swap of it has begun and not ended."""
        return self.growing is not None or self.swapping is not None

    @property
    def held(self) -> HeldTable:
        return HeldTable(self.table, self.truncate, self.exists)


def own(session: Session) -> bool:
    """Whether the database holds Millrace's tables."""
    return bool(columns_there(session, LEDGER))


def make_own(session: Session) -> None:
    """Make Millrace's tables where they are not."""
    if own(session):
        return
    name = session.dialect.text(NAME)
    session.run(
        f"CREATE TABLE IF NOT EXISTS {session.name(TABLES)} (table_name {name} PRIMARY KEY, relation {name}, "
        f"`key` {session.dialect.text('longtext')}, columns longblob, growing longblob, "
        f"swapping {session.dialect.text('longtext')}, truncated {POSITION_TYPE}, "
        f"commits bigint NOT NULL DEFAULT 0, format int) {ENGINE}"
    )
    counts = ", ".join(f"`{column}` bigint" for column in COUNTS)
    session.run(
        f"CREATE TABLE IF NOT EXISTS {session.name(LEDGER)} (job {name}, table_name {name}, topic {name}, "
        f"`partition` int, {counts}, mark {session.dialect.text('longtext')}, committed_at datetime(6), format int, "
        f"PRIMARY KEY (job, table_name, topic, `partition`)) {ENGINE}"
    )


@contextmanager
def locked(session: Session, name: str) -> Iterator[None]:
    """Keep other commits of the table, and growths of it, from this server. Raises TransientSinkError."""
    _lock(session, name)
    try:
        yield
    finally:
        if session.con.open:
            session.run("DO RELEASE_ALL_LOCKS()")


def lock_names(session: Session) -> None:
    """Let one commit at a time make tables in the database, until it lets go of its locks."""
    _lock(session, "")


def _lock(session: Session, name: str) -> None:
    digest = hashlib.blake2b(f"{session.database}\0{name}".encode(), digest_size=16).hexdigest()
    if session.run("SELECT GET_LOCK(%s, %s)", [f"millrace {digest}", WAIT_SECONDS]) != [(1,)]:
        raise TransientSinkError(f"table {name}: another commit of it takes longer than {WAIT_SECONDS} s")


def registered(session: Session, name: str) -> Known:
    """What is known of the table, which has a row of its own from here on."""
    tables = session.bound(TABLES)
    session.run(f"INSERT IGNORE INTO {tables} (table_name, format) VALUES (%s, %s)", [name, POSITIONS.newest])
    return known(session, name)


def known(session: Session, name: str, lock: str = "") -> Known:
    """What is known of the table. Raises TerminalSinkError for what a newer Millrace wrote."""
    query = f"SELECT `key`, columns, growing, swapping, truncated, commits, format FROM {session.bound(TABLES)}"
    rows = session.run(f"{query} WHERE table_name = %s{lock}", [name])
    if not rows:
        return Known(name)
    key, columns, growing, swapping, truncated, commits, version = rows[0]
    POSITIONS.check(version, f"{TABLES}, table {name}")
    with intact(name, f"its row in {TABLES}"):
        made = [
            None if one is None else Table(name, tuple(json.loads(key)), _schema(one)) for one in (columns, growing)
        ]
    return Known(name, made[0], made[1], truncated, swapping, commits, exists=True)


def _schema(columns: bytes) -> pa.Schema:
    return pa.ipc.read_schema(pa.py_buffer(columns))


def names(session: Session, of: str = "columns IS NOT NULL") -> tuple[str, ...]:
    """The tables that Millrace keeps here, sorted; `of`: the condition."""
    rows = session.run(f"SELECT table_name FROM {session.name(TABLES)} WHERE {of}")
    return tuple(sorted(row[0] for row in rows))


def save_truncate(session: Session, name: str, position: bytes) -> None:
    """Keep the position of the newest TRUNCATE, also of a table that has no row yet."""
    session.run(f"UPDATE {session.bound(TABLES)} SET truncated = %s WHERE table_name = %s", [position, name])


def check_names(table: Table) -> None:
    """Raises IncompatibleSchemaError where two columns have one name in MySQL."""
    seen: dict[str, str] = {}
    for name in table.columns.names:
        twin = seen.setdefault(physical(name).casefold(), name)
        if twin is not name:
            raise IncompatibleSchemaError(
                f"table {table.name}: columns {twin!r} and {name!r} have one name in MySQL, {physical(name)!r}; rename "
                "one at the source"
            )


def check_free(session: Session, table: Table) -> None:
    """Raises TableError, TerminalSinkError where the target has another table of this name."""
    kept = Kept(table)
    twin = session.run(
        f"SELECT table_name FROM {session.bound(TABLES)} WHERE relation = %s AND table_name <> %s",
        [kept.relation, table.name],
    )
    if twin:
        raise TableError(
            f"table {table.name!r}: {twin[0][0]!r} has its name in MySQL, {kept.relation!r}; set another `to` in the "
            "job file"
        )
    for relation in (kept.relation, kept.tombstones):
        if columns_there(session, relation):
            raise TerminalSinkError(
                f"database {session.database!r} has a table {relation!r} that Millrace did not make: rename it, or set "
                "another `to`"
            )


def create(session: Session, table: Table) -> None:
    """Make the table and that of its tombstones, where they are not there."""
    kept, position = Kept(table), f"{quote(POSITION)} {POSITION_TYPE} NOT NULL"
    keys = [definition(session, table, name) for name in table.key]
    key = f"PRIMARY KEY ({', '.join(quote(physical(name)) for name in table.key)})"
    columns = [definition(session, table, field.name) for field in table.columns]
    body = ", ".join([*columns, position, key])
    session.run(f"CREATE TABLE IF NOT EXISTS {session.name(kept.relation)} ({body}) {ENGINE}")
    deleted = f"{quote(DELETED_AT)} datetime(6) NOT NULL, INDEX ({quote(DELETED_AT)})"
    body = ", ".join([*keys, position, deleted, key])
    session.run(f"CREATE TABLE IF NOT EXISTS {session.name(kept.tombstones)} ({body}) {ENGINE}")


def definition(session: Session, table: Table, name: str) -> str:
    """A column as CREATE and ALTER TABLE want it."""
    kind = session.dialect.declared(column_type(table, name))
    return f"{quote(physical(name))} {kind}{' NOT NULL' if name in table.key else ' NULL'}"


def with_beyond(session: Session, kept: Kept, numbers: frozenset[int]) -> Kept:
    """The table with companions of these columns."""
    more = [f"ADD COLUMN {quote(f'{BEYOND}{number}')} bigint" for number in sorted(numbers - kept.beyond)]
    if more:
        session.run(f"ALTER TABLE {session.name(kept.relation)} {', '.join(more)}")
    return Kept(kept.table, kept.beyond | numbers)


def untouched(session: Session, table: Table) -> Kept:
    """The table with its companions. Raises TerminalSinkError where others changed it."""
    relation, there = physical(table.name), columns_there(session, physical(table.name))
    place = f"database {session.database!r}"
    if not there:
        raise TerminalSinkError(
            f"{place}: the table {relation!r} was dropped, but its ledger stands; build it again: "
            f"millrace resync JOB --table {table.name}"
        )
    found, wanted = without_companions(there), columns_left(session, table)
    for name in sorted(found.keys() | wanted.keys()):
        if found.get(name) != wanted.get(name):
            state = "is gone" if name not in found else "is not Millrace's"
            if name in found and name in wanted:
                state = f"is {found[name]} and was {wanted[name]}"
            raise TerminalSinkError(
                f"{place}: the column {name!r} of table {relation!r} {state}; put the table's columns back as they were"
            )
    return Kept(table, companions(there))


def companions(there: Mapping[str, str]) -> frozenset[int]:
    """The numbers of the columns with a companion."""
    return frozenset(int(name.removeprefix(BEYOND)) for name in there if name.startswith(BEYOND))


def columns_there(session: Session, relation: str) -> dict[str, str]:
    """The types of all columns that the relation has, by name; empty where there is none."""
    rows = session.run(
        "SELECT column_name, column_type FROM information_schema.columns WHERE table_schema = %s AND table_name = %s "
        "ORDER BY ordinal_position",
        [session.database, relation],
    )
    return {name: kind if kind == "tinyint(1)" else WIDTH.sub(r"\1", kind) for name, kind in rows}


def without_companions(there: Mapping[str, str]) -> dict[str, str]:
    """The columns but those for what is out of range, and those of a growth that has not ended."""
    return {name: kind for name, kind in there.items() if not name.startswith((BEYOND, GROWN))}


def columns_left(session: Session, table: Table) -> dict[str, str]:
    """The columns as commits leave them, but those for what is out of range."""
    found = {physical(field.name): column_type(table, field.name) for field in table.columns}
    json_type = session.dialect.json
    return {name: json_type if kind == "json" else kind for name, kind in found.items()} | {POSITION: POSITION_TYPE}


def limited(kept: Kept, number: int) -> bool:
    """Whether the n-th column may have a companion."""
    return is_limited(kept.table.columns.field(number).type)
