"""Which server this is: a cluster has a number for life, and a timeline for each time that its history was forked.

A standby that is promoted, and a cluster that is restored, keep the number and begin a new timeline. What was read of
the old one behind the fork is not there, and the same LSNs stand for other changes.
"""

import re
from typing import Final, NamedTuple

from ....schemas.errors import JobError, LostOffsetsError
from .blocks import lsn_text
from .client import PostgresSettings, Session, timeline_history
from .marks import Mark

FORK: Final = re.compile(r"^\s*(\d+)\s+([0-9A-Fa-f]+)/([0-9A-Fa-f]+)", re.MULTILINE)
LINE: Final = """
SELECT system_identifier::text, pg_is_in_recovery(), CASE WHEN NOT pg_is_in_recovery()
  THEN ('x' || left(pg_walfile_name(pg_current_wal_flush_lsn()), 8))::bit(32)::int END
FROM pg_control_system()
"""
START_OVER: Final = (
    "nothing was read. For a new copy, remove the tables from the target, drop the slot (millrace slot drop JOB) and "
    "run again"
)


class Line(NamedTuple):
    """A cluster, and the timeline that it writes."""

    system: str
    timeline: int


def line_of(session: Session) -> Line:
    """Raises JobError for a standby."""
    ((system, standby, timeline),) = session.rows(LINE)
    if standby:
        raise standing_by(session.settings)
    return Line(system, timeline)


def standing_by(settings: PostgresSettings) -> JobError:
    """The error for a standby."""
    return JobError(f"{settings.where} is a standby; connect to the primary")


def check_line(settings: PostgresSettings, line: Line, mark: Mark) -> None:
    """Raises LostOffsetsError where the server lacks some of what was read up to this mark."""
    if mark.system != line.system:
        raise LostOffsetsError(
            f"{settings.where} is another cluster than the one that was read (a restored or new one); {START_OVER}"
        )
    if mark.timeline in (0, line.timeline):
        return
    fork = forks(timeline_history(settings, line.timeline)).get(mark.timeline)
    if fork is None:
        raise LostOffsetsError(
            f"{settings.where} is on timeline {line.timeline}, which does not come from timeline {mark.timeline} that "
            f"was read; {START_OVER}"
        )
    if mark.newest > fork:
        raise LostOffsetsError(
            f"{settings.where} is on timeline {line.timeline} (a standby was promoted, or a copy restored), which left "
            f"timeline {mark.timeline} at {lsn_text(fork)}. The target holds that one up to {lsn_text(mark.newest)}, "
            f"and so perhaps changes that are not there any more; {START_OVER}"
        )


def forks(history: str) -> dict[int, int]:
    """By timeline the LSN where the next one left it."""
    return {int(number): int(high, 16) << 32 | int(low, 16) for number, high, low in FORK.findall(history)}
