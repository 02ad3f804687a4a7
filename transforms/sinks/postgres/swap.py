"""One table of a Postgres schema in the place of another, within a transaction."""

from ....schemas.errors import TableError
from ....schemas.model.change import PREFIX
from ....schemas.model.table import Table
from ..shared.ledger import JobLedger, LedgerChange
from ..shared.resync import Swap, handed_over
from . import catalog, ledger
from .catalog import Kept
from .client import Session
from .columns import escaped, physical, quote


def jobs(session: Session, name: str) -> tuple[str, ...]:
    """The jobs that have a ledger of the table, sorted."""
    query = f"SELECT DISTINCT job FROM {session.bound(ledger.LEDGER)} WHERE table_name = %s"
    return tuple(sorted(row[0] for row in session.run(query, [escaped(name)])))


def swap(session: Session, wanted: Swap) -> None:
    """DROP, then RENAME, under the locks of both tables; who may read the live one may read it then.

    Raises LedgerGapError, TableError.
    """
    catalog.lock_row(session, wanted.table)
    built = catalog.lock_table(session, wanted.beside).table
    if built is None:
        raise TableError(f"table {wanted.table}: {wanted.beside} has no rows; nothing was swapped")
    before = JobLedger() if wanted.lost else ledger.read(session, wanted.job, wanted.table)
    after = handed_over(wanted, before, ledger.read(session, wanted.job, wanted.beside))
    mine, theirs = (Kept(Table(name, built.key, built.columns), frozenset()) for name in (wanted.table, wanted.beside))
    grants = _grants(session, mine.relation)
    catalog.lock_schema(session)
    for relation in (mine.relation, mine.tombstones):
        session.run(f"DROP TABLE IF EXISTS {session.name(relation)}")
    for old, new in zip(_indexes(theirs), _indexes(mine), strict=True):
        session.run(f"ALTER INDEX {session.name(old)} RENAME TO {quote(new)}")
    for old, new in ((theirs.relation, mine.relation), (theirs.tombstones, mine.tombstones)):
        session.run(f"ALTER TABLE {session.name(old)} RENAME TO {quote(new)}")
    for grant in grants:
        session.run(grant)
    _rename_entry(session, wanted, mine)
    ledger.write(session, LedgerChange(wanted.job, wanted.table, before, after, ()))


def _rename_entry(session: Session, wanted: Swap, kept: Kept) -> None:
    """The row of the live table stays: other commits wait for its lock."""
    tables = session.bound(f"{PREFIX}tables")
    session.run(
        f"UPDATE {tables} t SET relation = %s, key = b.key, columns = b.columns, truncate = b.truncate, "
        f"format = b.format FROM {tables} b WHERE t.table_name = %s AND b.table_name = %s",
        [kept.relation, escaped(wanted.table), escaped(wanted.beside)],
    )
    _forget(session, wanted.beside)


def drop(session: Session, name: str) -> None:
    """The table, its tombstones, and what is known of them."""
    held = catalog.held(session, name)
    if held.table is not None:
        kept = Kept(held.table, frozenset())
        for relation in (kept.relation, kept.tombstones):
            session.run(f"DROP TABLE IF EXISTS {session.name(relation)}")
    _forget(session, name)


def _forget(session: Session, name: str) -> None:
    for own in (f"{PREFIX}tables", ledger.LEDGER):
        session.run(f"DELETE FROM {session.bound(own)} WHERE table_name = %s", [escaped(name)])


def _indexes(kept: Kept) -> list[str]:
    keys = [physical(f"{PREFIX}key_{relation}") for relation in (kept.relation, kept.tombstones)]
    return [*keys, physical(f"{PREFIX}age_{kept.relation}")]


def _grants(session: Session, relation: str) -> list[str]:
    """Statements that give others the rights which they have on the relation now."""
    rows = session.run(
        "SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END, "
        "a.privilege_type, a.is_grantable FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, "
        "LATERAL aclexplode(c.relacl) a WHERE n.nspname = %s AND c.relname = %s AND a.grantee <> c.relowner",
        [session.schema, relation],
    )
    return [
        f"GRANT {right} ON {session.name(relation)} TO {who}{' WITH GRANT OPTION' if passes_on else ''}"
        for who, right, passes_on in rows
    ]
