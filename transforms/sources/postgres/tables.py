"""What the source's catalog says of tables and of the slot, and what is made there for reading."""

import time
from dataclasses import dataclass
from typing import Final

from ....schemas.errors import JobError, LostOffsetsError, SourceError
from .blocks import TableSchema
from .client import PostgresSettings, Session
from .type_names import typed_columns

STREAM: Final = 1 << 24
"""The offset where a table's copy ends and its log begins: no LSN is lower. Below it are the chunks of the copy."""
CHUNK_PAGES: Final = 512
WAIT_SECONDS: Final = 60.0

TABLES: Final = """
SELECT n.nspname || '.' || c.relname, c.oid, c.relkind::text, c.relreplident::text, c.relpersistence::text,
  pg_relation_size(c.oid) / current_setting('block_size')::int,
  EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary),
  has_table_privilege(c.oid, 'SELECT')
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
WHERE i.indrelid = %s AND i.indisprimary ORDER BY k.place
"""
SLOT: Final = """
SELECT plugin, database, active, wal_status, (confirmed_flush_lsn - '0/0')::bigint,
  (pg_current_wal_lsn() - restart_lsn)::bigint
FROM pg_replication_slots WHERE slot_name = %s
"""


@dataclass(frozen=True, slots=True)
class SourceTable:
    """A table as the catalog has it; `pages` of its own storage. `identity` is its REPLICA IDENTITY: d, f, i or n."""

    name: str
    oid: int
    kind: str
    identity: str
    persistence: str
    pages: int
    keyed: bool
    readable: bool

    @property
    def refusal(self) -> str | None:
        """Why its changes cannot be read, with the statement that mends it."""
        quoted = quoted_name(self.name)
        if self.persistence != "p":
            return (
                f"{self.name} is unlogged or temporary: its changes are not in the log; ALTER TABLE {quoted} SET LOGGED"
            )
        if not self.readable:
            return f"the role may not read {self.name}; GRANT SELECT ON {quoted} TO the role"
        if self.identity == "n" or (self.identity == "d" and not self.keyed):
            return (
                f"{self.name} has no replica identity, so the server refuses its updates and deletes once it is "
                f"published; add a primary key, or: ALTER TABLE {quoted} REPLICA IDENTITY FULL"
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
    return tuple(name for (name,) in session.rows(KEY, (oid,)))


def slot_of(session: Session, settings: PostgresSettings) -> Slot | None:
    """The job's slot; None where there is none."""
    rows = session.rows(SLOT, (settings.slot,))
    return Slot(*rows[0]) if rows else None


def lost_slot(settings: PostgresSettings, why: str) -> LostOffsetsError:
    """The error for a slot that does not hold any more what the target lacks."""
    return LostOffsetsError(
        f"the slot {settings.slot} at {settings.where} {why}: changes that the target lacks are gone from the log; "
        "nothing was skipped. For a new copy, remove the tables from the target, drop the slot "
        f"(SELECT pg_drop_replication_slot('{settings.slot}')) and run again"
    )


def prepared(session: Session, table: SourceTable, *, new: bool) -> bool:
    """Put the table into the publication and make the slot, where nothing was read yet (`new`); whether it was needed.

    Raises JobError for a table that cannot be read, LostOffsetsError where the slot is gone.
    """
    settings = session.settings
    if table.refusal:
        raise JobError(table.refusal)
    made = _publish(session, table)
    slot = slot_of(session, settings)
    if slot is None:
        if not new:
            raise lost_slot(settings, "is gone")
        session.rows("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (settings.slot,))
        made = True
        slot = slot_of(session, settings)
    if slot is None or slot.plugin != "pgoutput":
        raise JobError(f"the slot {settings.slot} is not one of pgoutput; name another one: source.slot")
    if slot.status == "lost":
        raise lost_slot(settings, "has lost its WAL (max_slot_wal_keep_size)")
    return made


def _publish(session: Session, table: SourceTable) -> bool:
    name, quoted = session.settings.publication, quoted_name(table.name)
    found = session.rows("SELECT pubviaroot FROM pg_publication WHERE pubname = %s", (name,))
    if not found:
        session.rows(f"CREATE PUBLICATION {name} FOR TABLE {quoted} WITH (publish_via_partition_root = true)")
        return True
    if table.kind == "p" and not found[0][0]:
        raise JobError(
            f"{table.name} is partitioned, and the publication {name} names its partitions instead; "
            f"ALTER PUBLICATION {name} SET (publish_via_partition_root = true)"
        )
    listed = session.rows(
        "SELECT 1 FROM pg_publication_tables WHERE pubname = %s AND schemaname || '.' || tablename = %s",
        (name, table.name),
    )
    if not listed:
        session.rows(f"ALTER PUBLICATION {name} ADD TABLE {quoted}")
        _wait_for_open_transactions(session)
    return not listed


def _wait_for_open_transactions(session: Session) -> None:
    """A transaction that began before a table was published does not send what it wrote there before."""
    ((newest,),) = session.rows("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        ((oldest,),) = session.rows("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
        if oldest >= newest:
            return
        time.sleep(0.1)
    raise SourceError("a transaction that is older than the publication's new table is still open; run again after it")


def copy_query(table: SourceTable, schema: TableSchema, chunk: int) -> str:
    """COPY of one chunk: every value as the text that the log has, which a cast to text has not always."""
    columns = []
    for column in schema.columns:
        name = '"' + column.name.replace('"', '""') + '"'
        columns.append(f"CASE WHEN num_nulls({name}) = 0 THEN concat({name}) END")
    low, high = chunk * CHUNK_PAGES, (chunk + 1) * CHUNK_PAGES
    rows = f"FROM ONLY {quoted_name(table.name)} WHERE ctid >= '({low},0)' AND ctid < '({high},0)'"
    if table.kind == "p":
        rows = f"FROM {quoted_name(table.name)}"
    return f"COPY (SELECT {', '.join(columns)} {rows}) TO STDOUT (FORMAT binary)"


def chunks(table: SourceTable) -> int:
    """How many chunks a copy has; a partitioned table is one."""
    return 1 if table.kind == "p" else -(-table.pages // CHUNK_PAGES)
