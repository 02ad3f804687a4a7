"""The ledger in a DuckDB file, `_millrace_ledger`: a row for each job, table and partition."""

from datetime import UTC, datetime
from typing import Final

from ..ledger import COLUMNS, JobLedger, LedgerChange, from_rows, to_rows
from .catalog import Connection

MINE: Final = "WHERE job = ? AND table_name = ?"


def read(con: Connection, job: str, table: str) -> JobLedger:
    """What the job has in the table's ledger. Raises TerminalSinkError for a ledger of a newer Millrace."""
    if "\0" in table:  # as `catalog.held`
        return JobLedger()
    rows = con.execute(f"SELECT {', '.join(COLUMNS)} FROM _millrace_ledger {MINE}", [job, table]).fetchall()
    return from_rows((dict(zip(COLUMNS, row, strict=True)) for row in rows), "_millrace_ledger", table)


def write(con: Connection, change: LedgerChange) -> None:
    """Put the job's rows as they are now in place of those before."""
    con.execute(f"DELETE FROM _millrace_ledger {MINE}", [change.job, change.table])
    now, names = datetime.now(UTC), ("job", "table_name", "committed_at", *COLUMNS)
    statement = f"INSERT INTO _millrace_ledger ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
    for row in to_rows(change.after):
        con.execute(statement, [change.job, change.table, now, *row.values()])
