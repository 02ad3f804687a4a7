"""What the job has made at the source: the publication with its tables, and the slot."""

import time
from dataclasses import dataclass
from typing import Final

from ....schemas.errors import JobError, LostOffsetsError, SourceError
from .client import PostgresSettings, Session, lost_slot
from .tables import SourceTable, quoted_name, slot_of

WAIT_SECONDS: Final = 60.0
RELEASED_SECONDS: Final = 5.0
PUBLISHED: Final = """
SELECT p.oid::bigint, r.oid::bigint, p.pubviaroot, p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate,
  coalesce(to_jsonb(r)->>'prqual', to_jsonb(r)->>'prattrs') IS NOT NULL,
  EXISTS (SELECT FROM pg_publication_tables t WHERE t.pubname = p.pubname AND t.schemaname || '.' || t.tablename = %s)
FROM pg_publication p LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = %s
WHERE p.pubname = %s
"""


@dataclass(frozen=True, slots=True)
class Published:
    """How a publication lists a table; `entry` is the number of what lists it, another one once that was made anew."""

    number: int
    entry: int | None
    by_root: bool
    complete: bool
    filtered: bool
    listed: bool

    @property
    def mark(self) -> str:
        """What a ledger remembers: where it changes, changes of the table may have gone unpublished."""
        return str(self.entry or self.number) if self.listed else ""


def published(session: Session, table: SourceTable) -> Published | None:
    """None where there is no publication."""
    rows = session.rows(PUBLISHED, (table.name, table.oid, session.settings.publication))
    return Published(*rows[0]) if rows else None


def refusal(table: SourceTable, name: str, found: Published) -> str | None:
    """Why the publication would not tell every change of the table, with the statement that mends it."""
    if table.kind == "p" and not found.by_root:
        return (
            f"{table.name} is partitioned, and the publication {name} names its partitions instead; "
            f"ALTER PUBLICATION {name} SET (publish_via_partition_root = true)"
        )
    if not found.complete:
        return (
            f"the publication {name} leaves out some kinds of changes; "
            f"ALTER PUBLICATION {name} SET (publish = 'insert, update, delete, truncate')"
        )
    if found.filtered:
        return (
            f"the publication {name} has a row filter or a list of columns for {table.name}, so some changes are not "
            f"told; ALTER PUBLICATION {name} DROP TABLE {quoted_name(table.name)}, and add it without them"
        )
    return None


def prepared(session: Session, table: SourceTable, *, new: bool) -> bool:
    """Put the table into the publication and make the slot, where nothing was read yet (`new`); whether it was needed.

    Raises JobError for a table that cannot be read, LostOffsetsError where the slot or the publication is gone.
    """
    settings = session.settings
    if table.refusal:
        raise JobError(table.refusal)
    made = _publish(session, table, new=new)
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


def unpublished(settings: PostgresSettings, table: str) -> LostOffsetsError:
    """The error for a table that was taken out of the publication after it was read, or made anew there."""
    return LostOffsetsError(
        f"the publication {settings.publication} at {settings.where} does not list {table} as it did when it was read: "
        "it was dropped or changed, and what was written meanwhile is not in the log; nothing was skipped. For a new "
        "copy, remove the tables from the target, drop the slot (millrace slot drop JOB) and run again"
    )


def _publish(session: Session, table: SourceTable, *, new: bool) -> bool:
    name, quoted = session.settings.publication, quoted_name(table.name)
    found = published(session, table)
    if not new and (found is None or not found.listed):
        raise unpublished(session.settings, table.name)
    if found is None:
        session.rows(f"CREATE PUBLICATION {name} FOR TABLE {quoted} WITH (publish_via_partition_root = true)")
        return True
    said = refusal(table, name, found)
    if said is not None:
        raise JobError(said)
    if not found.listed:
        session.rows(f"ALTER PUBLICATION {name} ADD TABLE {quoted}")
        _wait_for_open_transactions(session)
    return not found.listed


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


def dropped(session: Session) -> list[str]:
    """Drop the slot, then the publication; a sentence on each. Raises SourceError where another run reads the slot."""
    settings, said = session.settings, []
    slot = slot_of(session, settings)
    deadline = time.monotonic() + RELEASED_SECONDS
    while slot is not None and slot.active and time.monotonic() < deadline:
        # A reader that has just ended holds the slot until the server notices.
        time.sleep(0.1)
        slot = slot_of(session, settings)
    if slot is None:
        said.append(f"slot {settings.slot}: was not there")
    else:
        session.rows("SELECT pg_drop_replication_slot(%s)", (settings.slot,))
        said.append(f"slot {settings.slot}: dropped; the server is free of {slot.retained / (1 << 20):,.0f} MB of WAL")
    there = session.rows("SELECT 1 FROM pg_publication WHERE pubname = %s", (settings.publication,))
    if there:
        session.rows(f"DROP PUBLICATION {settings.publication}")
    said.append(f"publication {settings.publication}: {'dropped' if there else 'was not there'}")
    return said
