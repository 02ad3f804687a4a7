"""What the source's catalog says of tables and of the slot, and what is made there for reading."""

from dataclasses import dataclass
from typing import Final

from .blocks import TableSchema
from .client import PostgresSettings, Session
from .type_names import typed_columns

TABLES: Final = """
SELECT n.nspname || '.' || c.relname, c.oid, c.relkind::text, c.relreplident::text, c.relpersistence::text,
  greatest(c.reltuples, 0)::bigint,
  EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary),
  has_table_privilege(c.oid, 'SELECT'),
  NOT EXISTS (
    SELECT FROM pg_index p CROSS JOIN unnest(p.indkey) AS k WHERE p.indrelid = c.oid AND p.indisprimary
      AND NOT EXISTS (SELECT FROM pg_index r WHERE r.indrelid = c.oid AND r.indisreplident AND k = ANY (r.indkey))
  )
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_toast%'
"""
COLUMNS: Final = """
SELECT attname, atttypid::bigint, atttypmod FROM pg_attribute
WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum
"""
KEY: Final = """
SELECT a.attname FROM pg_index i CROSS JOIN unnest(i.indkey) WITH ORDINALITY AS k (attnum, place)
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
WHERE i.indrelid = %s AND {} ORDER BY k.place
"""
SLOT: Final = """
SELECT plugin, database, active, wal_status, (confirmed_flush_lsn - '0/0')::bigint,
  (pg_current_wal_lsn() - restart_lsn)::bigint
FROM pg_replication_slots WHERE slot_name = %s
"""


@dataclass(frozen=True, slots=True)
class SourceTable:
    """A table as the catalog has it; `rows` as it was counted last, 0 where it was not.

    `identity` is its REPLICA IDENTITY: d, f, i or n.

    `covered`: an index of REPLICA IDENTITY has all columns of the primary key.
    """

    name: str
    oid: int
    kind: str
    identity: str
    persistence: str
    rows: int
    keyed: bool
    readable: bool
    covered: bool

    @property
    def unreadable(self) -> str | None:
        """Why its rows cannot be read, with the statement that mends it."""
        if self.readable:
            return None
        return f"the role may not read {self.name}; GRANT SELECT ON {quoted_name(self.name)} TO the role"

    @property
    def refusal(self) -> str | None:
        """Why its changes cannot be read, with the statement that mends it."""
        quoted = quoted_name(self.name)
        if self.persistence != "p":
            return (
                f"{self.name} is unlogged or temporary: its changes are not in the log; ALTER TABLE {quoted} SET LOGGED"
            )
        if self.unreadable:
            return self.unreadable
        if self.identity == "n" or (self.identity == "d" and not self.keyed):
            return (
                f"{self.name} has no replica identity, so the server refuses its updates and deletes once it is "
                f"published; add a primary key, or: ALTER TABLE {quoted} REPLICA IDENTITY FULL"
            )
        if self.identity == "i" and self.keyed and not self.covered:
            return (
                f"{self.name} has a replica identity without its primary key, so deletes do not say which row goes; "
                f"ALTER TABLE {quoted} REPLICA IDENTITY DEFAULT"
            )
        return None


@dataclass(frozen=True, slots=True)
class Slot:
    """A replication slot: how far it is confirmed (LSN), and how many bytes of WAL it holds back."""

    plugin: str
    database: str
    active: bool
    status: str | None
    confirmed: int
    retained: int


def quoted_name(name: str) -> str:
    """`schema.table` for SQL."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in name.split(".", 1))


def tables(session: Session) -> dict[str, SourceTable]:
    """The tables that can be read, by `schema.table`; of partitioned ones the root."""
    return {row[0]: SourceTable(*row) for row in session.rows(TABLES)}


def schema_of(session: Session, table: SourceTable) -> TableSchema:
    """The columns as the catalog has them now."""
    columns = [(name, number, modifier) for name, number, modifier in session.rows(COLUMNS, (table.oid,))]
    return TableSchema(typed_columns(session, columns), key_of(session, table.oid))


def key_of(session: Session, oid: int) -> tuple[str, ...]:
    """The columns of the primary key; () where there is none."""
    return tuple(name for (name,) in session.rows(KEY.format("i.indisprimary"), (oid,)))


def row_key(session: Session, table: SourceTable, schema: TableSchema) -> tuple[str, ...]:
    """What tells a row from all others: the primary key, else the index of REPLICA IDENTITY; () for neither.

    A key with a generated column is none: the log does not have such columns.
    """
    key = schema.key
    if not key and table.identity == "i":
        key = tuple(name for (name,) in session.rows(KEY.format("i.indisreplident"), (table.oid,)))
    names = {column.name for column in schema.columns}
    return key if names.issuperset(key) else ()


def slot_of(session: Session, settings: PostgresSettings) -> Slot | None:
    """The job's slot; None where there is none."""
    rows = session.rows(SLOT, (settings.slot,))
    return Slot(*rows[0]) if rows else None
