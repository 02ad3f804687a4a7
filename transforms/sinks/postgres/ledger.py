"""The ledger in a Postgres schema, `_millrace_ledger`: a row for each job, table, topic and partition.

Its columns are those of `shared.ledger.COLUMNS`, and the time of the last commit.
"""

from typing import Final

from ....schemas.model.change import PREFIX
from ..shared.ledger import COLUMNS, JobLedger, LedgerChange, from_rows, to_rows
from .client import Session
from .columns import escaped

LEDGER: Final = f"{PREFIX}ledger"
MINE: Final = "WHERE job = %s AND table_name = %s"


def read(session: Session, job: str, table: str) -> JobLedger:
    """What the job has in the table's ledger. Raises TerminalSinkError for a ledger of a newer Millrace."""
    rows = session.run(
        f"SELECT {', '.join(COLUMNS)} FROM {session.bound(LEDGER)} {MINE}", [escaped(job), escaped(table)]
    )
    return from_rows((dict(zip(COLUMNS, row, strict=True)) for row in rows), LEDGER, table)


def write(session: Session, change: LedgerChange) -> None:
    """Put the job's rows as they are now in place of those before."""
    mine = [escaped(change.job), escaped(change.table)]
    session.run(f"DELETE FROM {session.bound(LEDGER)} {MINE}", mine)
    session.run_each(
        f"INSERT INTO {session.bound(LEDGER)} (job, table_name, {', '.join(COLUMNS)}, committed_at) "
        f"VALUES ({', '.join(['%s'] * (2 + len(COLUMNS)))}, clock_timestamp())",
        [[*mine, *row.values()] for row in to_rows(change.after)],
    )
