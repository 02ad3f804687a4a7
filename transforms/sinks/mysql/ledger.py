"""The ledger in a MySQL database, `_millrace_ledger`: a row for each job, table, topic and partition.

Its columns are those of `shared.ledger.COLUMNS`, and the time of the last commit.
"""

from typing import Final

from ..shared.ledger import COLUMNS, JobLedger, LedgerChange, from_rows, to_rows
from .catalog import LEDGER
from .client import Session

MINE: Final = "WHERE job = %s AND table_name = %s"
NAMES: Final = ", ".join(f"`{name}`" for name in COLUMNS)


def read(session: Session, job: str, table: str) -> JobLedger:
    """What the job has in the table's ledger. Raises TerminalSinkError for a ledger of a newer Millrace."""
    rows = session.run(f"SELECT {NAMES} FROM {session.bound(LEDGER)} {MINE}", [job, table])
    return from_rows((dict(zip(COLUMNS, row, strict=True)) for row in rows), LEDGER, table)


def write(session: Session, change: LedgerChange) -> None:
    """Put the job's rows as they are now in place of those before."""
    mine = [change.job, change.table]
    session.run(f"DELETE FROM {session.bound(LEDGER)} {MINE}", mine)
    session.run_each(
        f"INSERT INTO {session.bound(LEDGER)} (job, table_name, {NAMES}, committed_at) "
        f"VALUES ({', '.join(['%s'] * (2 + len(COLUMNS)))}, UTC_TIMESTAMP(6))",
        [[*mine, *row.values()] for row in to_rows(change.after)],
    )
