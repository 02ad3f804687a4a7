"""Tables in a DuckDB file: which are Millrace's, how they are made and how they grow.

Beside each table `t` stand its tombstones, `_millrace_tombstones_t`. What Millrace knows of all of them:

    _millrace_tables    table_name, key, columns (the stream's schema as Arrow IPC; NULL before the first row), truncate
                        (the position of the last one), format (the version of positions here and in the table)
    _millrace_ledger    job, table_name, topic, partition, next (offset), first and stop of the last commit, its time,
                        the sums of all accounts (read, applied, superseded, filtered, dead), mark (how far its source
                        has come: `schemas.model.source_mark`), format (the row's version)
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

import pyarrow as pa

from .....schemas.errors import TerminalSinkError
from .....schemas.merging.renaming import with_names
from .....schemas.model.change import POSITION, POSITION_TYPE
from .....schemas.model.stored_format import POSITIONS
from .....schemas.model.table import Table, conform
from ..commit import HeldTable
from ..damage import intact
from ..types import stored_schema
from .types import in_duckdb

DELETED_AT: Final = "_millrace_deleted_at"
TOMBSTONES: Final = "_millrace_tombstones_"
BATCH_ROWS: Final = 65_536

OWN_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS _millrace_tables (table_name VARCHAR, key VARCHAR[], columns BLOB, truncate BLOB, "
    "format INTEGER)",
    "CREATE TABLE IF NOT EXISTS _millrace_ledger (job VARCHAR, table_name VARCHAR, topic VARCHAR, partition INTEGER, "
    "next BIGINT, first BIGINT, stop BIGINT, committed_at TIMESTAMPTZ, read BIGINT, applied BIGINT, superseded BIGINT, "
    "filtered BIGINT, dead BIGINT, topic_id BIGINT, start BIGINT, mark VARCHAR, format INTEGER)",
)

OWN_NAMES: Final = ("_millrace_tables", "_millrace_ledger")


class Connection(Protocol):
    """What is used of DuckDB's connection."""

    def execute(self, query: str, parameters: Any = None) -> Any: ...
    def sql(self, query: str) -> Any: ...
    def register(self, view_name: str, python_object: Any) -> Any: ...
    def unregister(self, view_name: str) -> Any: ...
    def cursor(self) -> Any: ...


def quote(name: str) -> str:
    """The name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def quoted(names: Sequence[str], prefix: str = "") -> str:
    """The names as a list of SQL identifiers."""
    return ", ".join(prefix + quote(name) for name in names)


def tombstones(table: str) -> str:
    """The name of the table that holds the tombstones of `table`."""
    return TOMBSTONES + table


def own(con: Connection) -> bool:
    """Whether this database holds Millrace's tables."""
    found = con.execute("SELECT count(*) FROM duckdb_tables() WHERE table_name = '_millrace_tables'").fetchall()
    return bool(found[0][0])


def names(con: Connection) -> tuple[str, ...]:
    """The tables that Millrace keeps here, sorted."""
    rows = con.execute("SELECT table_name FROM _millrace_tables WHERE columns IS NOT NULL ORDER BY 1").fetchall()
    return tuple(row[0] for row in rows)


def held(con: Connection, name: str) -> HeldTable:
    """What the target has under this name."""
    if "\0" in name:  # no table has it, and the catalog of a lake cannot be asked for it
        return HeldTable()
    query = "SELECT key, columns, truncate, format FROM _millrace_tables WHERE table_name = ?"
    rows = con.execute(query, [name]).fetchall()
    if not rows:
        return HeldTable()
    key, columns, truncate, version = rows[0]
    POSITIONS.check(version, f"_millrace_tables, table {name}")
    if columns is None:
        return HeldTable(None, truncate, exists=True)
    with intact(name, "its row in _millrace_tables"):
        return HeldTable(Table(name, tuple(key), pa.ipc.read_schema(pa.py_buffer(columns))), truncate, exists=True)


def grow(con: Connection, old: Table | None, new: Table, path: str) -> None:
    """Make the table, or let it grow to these columns.

    Raises TerminalSinkError where the file has another table of this name, or another user changed the table.
    """
    if old is None:
        _create(con, new, path)
    else:
        _check_untouched(con, old, path)
        if old.columns.equals(new.columns):
            return
        _grow(con, old, new)
    columns = new.columns.serialize().to_pybytes()
    con.execute(
        "INSERT INTO _millrace_tables (table_name, format) SELECT ?, ? "
        "WHERE NOT EXISTS (SELECT 1 FROM _millrace_tables WHERE table_name = ?)",
        [new.name, POSITIONS.newest, new.name],
    )
    con.execute(
        "UPDATE _millrace_tables SET key = ?, columns = ? WHERE table_name = ?", [list(new.key), columns, new.name]
    )


def save_truncate(con: Connection, name: str, position: bytes) -> None:
    """Keep the position of the newest TRUNCATE, also of a table that has no row yet."""
    if con.execute("SELECT 1 FROM _millrace_tables WHERE table_name = ?", [name]).fetchall():
        con.execute("UPDATE _millrace_tables SET truncate = ? WHERE table_name = ?", [position, name])
    else:
        con.execute(
            "INSERT INTO _millrace_tables (table_name, truncate, format) VALUES (?, ?, ?)",
            [name, position, POSITIONS.newest],
        )


def rename(con: Connection, table: Table, names: Mapping[str, str], path: str) -> None:
    """Rename columns that are not of the key. Raises TerminalSinkError where another user changed the table."""
    _check_untouched(con, table, path)
    for old, new in names.items():
        con.execute(f"ALTER TABLE {quote(table.name)} RENAME COLUMN {quote(old)} TO {quote(new)}")
    columns = with_names(table, names).columns.serialize().to_pybytes()
    con.execute("UPDATE _millrace_tables SET columns = ? WHERE table_name = ?", [columns, table.name])


def stored_columns(table: Table) -> pa.Schema:
    """The user's columns as DuckDB stores them."""
    return stored_schema(table.columns, in_duckdb)


def _tombstone_columns(table: Table) -> pa.Schema:
    columns = stored_columns(table)
    extra = [pa.field(POSITION, POSITION_TYPE), pa.field(DELETED_AT, pa.timestamp("us", "UTC"))]
    return pa.schema([*(columns.field(name) for name in table.key), *extra])


def _create(con: Connection, table: Table, path: str) -> None:
    twin = con.execute(
        "SELECT table_name FROM duckdb_tables() WHERE lower(table_name) = lower(?) AND schema_name = current_schema() "
        "UNION ALL SELECT view_name FROM duckdb_views() WHERE lower(view_name) = lower(?) "
        "AND schema_name = current_schema()",
        [table.name, table.name],
    ).fetchall()
    if twin:
        raise TerminalSinkError(
            f"{path} has a table {twin[0][0]!r} that Millrace did not make: rename it, or set another `to`"
        )
    _create_as(con, table.name, stored_columns(table).append(pa.field(POSITION, POSITION_TYPE)).empty_table())
    _create_as(con, tombstones(table.name), _tombstone_columns(table).empty_table())


def _create_as(con: Connection, name: str, rows: pa.Table | pa.RecordBatchReader) -> None:
    con.register("_millrace_in", rows)
    con.execute(f"CREATE TABLE {quote(name)} AS SELECT * FROM _millrace_in")
    con.unregister("_millrace_in")


def columns_there(con: Connection, name: str) -> set[str]:
    """The names of all columns that the table has; none where there is no table."""
    query = "SELECT column_name FROM duckdb_columns() WHERE table_name = ? AND schema_name = current_schema()"
    return {row[0] for row in con.execute(query, [name]).fetchall()}


def _check_untouched(con: Connection, table: Table, path: str) -> None:
    found, wanted = columns_there(con, table.name), {*table.columns.names, POSITION}
    if not found:
        raise TerminalSinkError(
            f"{path}: the table {table.name!r} was dropped, but its ledger stands; build it again: "
            f"millrace resync JOB --table {table.name}"
        )
    if found != wanted:
        odd = sorted(found ^ wanted)[0]
        state = "is not Millrace's" if odd in found else "is gone"
        raise TerminalSinkError(
            f"{path}: the column {odd!r} of table {table.name!r} {state}; put the table's columns back as they were"
        )


def _grow(con: Connection, old: Table, new: Table) -> None:
    after = stored_columns(new)
    if all(field.type.equals(new.columns.field(field.name).type) for field in old.columns):
        for field in list(after)[len(old.columns) :]:
            con.execute(f"ALTER TABLE {quote(new.name)} ADD COLUMN {quote(field.name)} {_sql_type(con, field)}")
        return
    whole = after.append(pa.field(POSITION, POSITION_TYPE))
    _rewrite(con, new.name, old.columns, new.columns, whole)
    keys = [pa.schema([table.columns.field(name) for name in new.key]) for table in (old, new)]
    _rewrite(con, tombstones(new.name), keys[0], keys[1], _tombstone_columns(new))


def _sql_type(con: Connection, field: pa.Field) -> str:
    con.register("_millrace_in", pa.schema([field]).empty_table())
    kind = str(con.sql("SELECT * FROM _millrace_in").types[0])
    con.unregister("_millrace_in")
    return kind


def sql_types(con: Connection, table: Table) -> dict[str, str]:
    """DuckDB's types of the columns that the table has, by name."""
    whole = stored_columns(table).append(pa.field(POSITION, POSITION_TYPE))
    con.register("_millrace_in", whole.empty_table())
    types = con.sql("SELECT * FROM _millrace_in").types
    con.unregister("_millrace_in")
    return {name: str(kind) for name, kind in zip(whole.names, types, strict=True)}


def _rewrite(con: Connection, name: str, old: pa.Schema, new: pa.Schema, stored: pa.Schema) -> None:
    """Copy the table to one of the `stored` columns, and put it in its place.

    `old` and `new` are the stream's own types, by way of which the values go.
    """
    extra = [field for field in stored if field.name not in new.names]

    def converted() -> Iterator[pa.RecordBatch]:
        reader = con.cursor()
        try:
            batches = reader.sql(f"SELECT * FROM {quote(name)}").to_arrow_reader(BATCH_ROWS)
            for batch in batches:
                own_types = conform(batch, pa.schema([*old, *extra]))
                yield conform(conform(own_types, pa.schema([*new, *extra])), stored)
        finally:
            reader.close()

    _create_as(con, "_millrace_growing", pa.RecordBatchReader.from_batches(stored, converted()))
    con.execute(f"DROP TABLE {quote(name)}")
    con.execute(f"ALTER TABLE _millrace_growing RENAME TO {quote(name)}")
