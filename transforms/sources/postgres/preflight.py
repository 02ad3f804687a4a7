"""What has to be set in the database before a table can be read, with the exact statements."""

from collections.abc import Iterator, Sequence
from typing import Final

from ....schemas.errors import MillraceError
from ..database import Advice
from .client import Session
from .publication import published, refusal
from .tables import SourceTable, quoted_name, slot_of

MUCH_WAL: Final = 10 << 30
OLDEST: Final = 140_000


def preflight(session: Session, tables: Sequence[SourceTable]) -> list[Advice]:
    """All findings; asks, and changes nothing."""
    if session.settings.full:
        return [*_tables(tables, full=True)]
    return [*_server(session), *slot_advice(session), *_publication(session, tables), *_tables(tables)]


def _server(session: Session) -> Iterator[Advice]:
    ((version, level, replication, superuser),) = session.rows(
        "SELECT current_setting('server_version_num')::int, current_setting('wal_level'), rolreplication, rolsuper "
        "FROM pg_roles WHERE rolname = current_user"
    )
    if version < OLDEST:
        yield Advice("fail", "server", f"version {version // 10_000}: a copy by chunks needs 14 or newer")
    if level != "logical":
        fix = "ALTER SYSTEM SET wal_level = logical; then restart the server"
        yield Advice("fail", "wal_level", f"is {level}: the log does not hold what changes need", fix)
    if not (replication or superuser):
        yield Advice(
            "fail", "role", "has no right to replicate", f'ALTER ROLE "{session.settings.username}" REPLICATION'
        )


def slot_advice(session: Session) -> Iterator[Advice]:
    """The slot: whether it is there, and how much WAL it holds back."""
    settings = session.settings
    slot = slot_of(session, settings)
    if slot is None:
        ((free,),) = session.rows(
            "SELECT current_setting('max_replication_slots')::int - count(*)::int FROM pg_replication_slots"
        )
        if free < 1:
            fix = "ALTER SYSTEM SET max_replication_slots = 20; then restart the server"
            yield Advice("fail", "slot", "no replication slot is free", fix)
        else:
            yield Advice("ok", "slot", f"{settings.slot} is not there yet: the first run makes it")
        return
    drop = "millrace slot drop JOB"
    if slot.plugin != "pgoutput":
        yield Advice("fail", "slot", f"{settings.slot} is of the plugin {slot.plugin}", "name another one: source.slot")
    elif slot.status == "lost":
        yield Advice("fail", "slot", f"{settings.slot} has lost its WAL: a new copy is needed", drop)
    else:
        much = slot.retained > MUCH_WAL or slot.status == "unreserved"
        said = f"{settings.slot} holds back {slot.retained / (1 << 20):,.0f} MB of WAL"
        if slot.status == "unreserved":
            said += ", more than max_slot_wal_keep_size: the next checkpoint may remove it"
        yield Advice("warn" if much else "ok", "slot", said, f"run the job, or give it up: {drop}" if much else "")


def _publication(session: Session, tables: Sequence[SourceTable]) -> Iterator[Advice]:
    name = session.settings.publication
    ((there,),) = session.rows("SELECT count(*) FROM pg_publication WHERE pubname = %s", (name,))
    listed = {
        table
        for (table,) in session.rows(
            "SELECT schemaname || '.' || tablename FROM pg_publication_tables WHERE pubname = %s", (name,)
        )
    }
    for table in tables:
        found = published(session, table)
        said = None if found is None or not found.listed else refusal(table, name, found)
        if said is not None:
            what, _, statement = said.partition("; ")
            yield Advice("fail", "publication", what, statement)
    missing = [table for table in tables if table.name not in listed]
    if not missing:
        yield Advice("ok", "publication", f"{name} has the tables")
        return
    names = ", ".join(quoted_name(table.name) for table in missing)
    made = f"CREATE PUBLICATION {name} FOR TABLE {names} WITH (publish_via_partition_root = true)"
    fix = f"ALTER PUBLICATION {name} ADD TABLE {names}" if there else made
    ((able,),) = session.rows(
        "SELECT has_database_privilege(current_database(), 'CREATE') AND bool_and(pg_has_role(c.relowner, 'USAGE')) "
        "FROM pg_class c WHERE c.oid = ANY(%s)",
        ([table.oid for table in missing],),
    )
    lacks = f"{name} lacks {', '.join(table.name for table in missing)}"
    if able:
        yield Advice("ok", "publication", f"{lacks}: the next run adds them")
    else:
        yield Advice("fail", "publication", f"{lacks}, and the role owns not all of them", fix)


def _tables(tables: Sequence[SourceTable], *, full: bool = False) -> Iterator[Advice]:
    for table in tables:
        refusal = table.unreadable if full else table.refusal
        if refusal:
            said, _, fix = refusal.partition("; ")
            yield Advice("fail", table.name, said, fix)


def condition_advice(session: Session, tables: Sequence[SourceTable]) -> Iterator[Advice]:
    """The conditions of `source.snapshot.where`, tried."""
    by_name = {table.name: table for table in tables}
    for name, _ in session.settings.copies.conditions:
        if name not in by_name:
            said = "source.snapshot.where names it, and it is not among the tables that are read"
            yield Advice("fail", name, said, "take it out of source.snapshot.where, or read it")
            continue
        try:
            session.rows(f"SELECT FROM {quoted_name(name)} WHERE {session.settings.copies.where(name)} LIMIT 0")
        except MillraceError as error:
            yield Advice("fail", name, f"source.snapshot.where: {error}", "correct the condition")
