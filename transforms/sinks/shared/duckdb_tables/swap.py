"""One table of a DuckDB connection in the place of another, within a transaction."""

from .....schemas.errors import TableError
from ..ledger import JobLedger, LedgerChange
from ..resync import Swap, handed_over
from . import catalog, ledger
from .catalog import Connection, quote, tombstones


def jobs(con: Connection, name: str) -> tuple[str, ...]:
    """The jobs that have a ledger of the table, sorted."""
    rows = con.execute("SELECT DISTINCT job FROM _millrace_ledger WHERE table_name = ? ORDER BY 1", [name]).fetchall()
    return tuple(row[0] for row in rows)


def swap(con: Connection, wanted: Swap) -> None:
    """DROP, then RENAME. Raises LedgerGapError, TableError."""
    live, beside = wanted.table, wanted.beside
    if catalog.held(con, beside).table is None:
        raise TableError(f"table {live}: {beside} has no rows; nothing was swapped")
    before = JobLedger() if wanted.lost else ledger.read(con, wanted.job, live)
    after = handed_over(wanted, before, ledger.read(con, wanted.job, beside))
    for name in (live, tombstones(live)):
        con.execute(f"DROP TABLE IF EXISTS {quote(name)}")
    for old, new in ((beside, live), (tombstones(beside), tombstones(live))):
        con.execute(f"ALTER TABLE {quote(old)} RENAME TO {quote(new)}")
    # The row of the live table stays: commits to one table meet there.
    con.execute(
        "UPDATE _millrace_tables SET key = b.key, columns = b.columns, truncate = b.truncate, format = b.format "
        "FROM (SELECT key, columns, truncate, format FROM _millrace_tables WHERE table_name = ?) b "
        "WHERE table_name = ?",
        [beside, live],
    )
    con.execute("DELETE FROM _millrace_tables WHERE table_name = ?", [beside])
    con.execute("DELETE FROM _millrace_ledger WHERE table_name = ?", [beside])
    ledger.write(con, LedgerChange(wanted.job, live, before, after, ()))


def drop(con: Connection, name: str) -> None:
    """The table, its tombstones, and what is known of them."""
    known = con.execute("SELECT 1 FROM _millrace_tables WHERE table_name = ?", [name]).fetchall()
    for one in (name, tombstones(name)) if known else ():
        con.execute(f"DROP TABLE IF EXISTS {quote(one)}")
    for own in catalog.OWN_NAMES:
        con.execute(f"DELETE FROM {own} WHERE table_name = ?", [name])
