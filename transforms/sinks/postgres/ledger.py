"""The ledger in a Postgres schema, `_millrace_ledger`.

A row a job, table, topic and partition: next (offset), first and stop of the last commit, its time, the sums of all
accounts (read, applied, superseded, filtered, dead), the topic's id, start (the offset it was begun at), and mark
(how far its source has come).
"""

from collections.abc import Sequence
from typing import Any, Final

from ....schemas.model.change import PREFIX
from ....schemas.model.ledger import Account, Commit, TopicPartition
from ....schemas.model.source_mark import SourceMark
from ..shared.ledger import Entry, advanced
from .client import Session
from .columns import escaped

LEDGER: Final = f"{PREFIX}ledger"
COLUMNS: Final = "next, start, topic, partition, first, stop, read, applied, superseded, filtered, dead, mark"
MINE: Final = "WHERE job = %s AND table_name = %s"


def entries(session: Session, job: str, table: str) -> dict[TopicPartition, Entry]:
    """What the job has of the table's partitions."""
    rows = session.run(f"SELECT {COLUMNS} FROM {session.bound(LEDGER)} {MINE}", [escaped(job), escaped(table)])
    return {TopicPartition(row[2], row[3]): _entry(row) for row in rows}


def _entry(row: Sequence[Any]) -> Entry:
    return Entry(row[0], Account(*row[2:-1]), row[1], SourceMark.of_text(row[-1]))


def topic_ids(session: Session, job: str, table: str) -> dict[str, int]:
    """The ids of the topics that were read into the table."""
    rows = session.run(
        f"SELECT DISTINCT topic, topic_id FROM {session.bound(LEDGER)} {MINE} AND topic_id IS NOT NULL",
        [escaped(job), escaped(table)],
    )
    return dict(rows)


def write(session: Session, table: str, commit: Commit, accounts: Sequence[Account]) -> None:
    """Advance the offsets and sums by this commit. Raises LedgerGapError."""
    after = advanced(table, commit, accounts, entries(session, commit.job, table))
    ids = {**topic_ids(session, commit.job, table), **commit.topic_ids}
    mine = [escaped(commit.job), escaped(table)]
    session.run(f"DELETE FROM {session.bound(LEDGER)} {MINE}", mine)
    rows = []
    for source, entry in after.items():
        sums = entry.account
        counts = [sums.read, sums.applied, sums.superseded, sums.filtered, sums.dead]
        place = [*mine, source.topic, source.partition]
        rows.append(
            [*place, entry.next, sums.first, sums.stop, *counts, ids.get(source.topic), entry.start, entry.mark.text()]
        )
    session.run_each(
        f"INSERT INTO {session.bound(LEDGER)} (job, table_name, topic, partition, next, first, stop, read, applied, "
        "superseded, filtered, dead, topic_id, start, mark, committed_at) "
        f"VALUES ({', '.join(['%s'] * 15)}, clock_timestamp())",
        rows,
    )
