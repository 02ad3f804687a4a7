"""`millrace status`: how far each topic is committed, from the target's ledger and the source; no run is needed."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from ...schemas.errors import SourceError
from ...schemas.plurals import counted
from ...transforms.retry import BETWEEN, Retry, retried
from ...transforms.sources.database import Advice
from ...transforms.stop_notes import StopNote
from ..execution.job_parts import source_of, target_of
from ..execution.standings import Standing, standings, stopped_tables
from ..job.formatting import aligned, duration
from ..job.model import Job
from .slot import kept

WAIT_SECONDS: Final = 1.0
TRIES: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How far a job is, by partition, which of its tables stopped, and what its source keeps for it."""

    file: Path
    standings: Sequence[Standing]
    stopped: Mapping[str, StopNote]
    kept: Sequence[Advice] = ()


def status(job: Job) -> Status:
    """The standings with the age of what waits; a target that another process has open is waited for.

    Raises SourceError, SinkError, JobError.
    """
    source = source_of(job)
    with closing(source), closing(source.connect()) as connection, closing(target_of(job).open()) as sink:
        retried("waiting for the target", sink.tables, Retry(BETWEEN))
        found, held = standings(job, connection, sink), kept(connection)
    stopped = stopped_tables(job, found)
    return Status(file=job.file, standings=[_aged(job, standing) for standing in found], stopped=stopped, kept=held)


def _aged(job: Job, standing: Standing) -> Standing:
    oldest = oldest_waiting(job, standing) if standing.lag else None
    behind = 0.0 if not standing.lag else None
    if oldest is not None:
        behind = max(0.0, datetime.now(UTC).timestamp() - oldest / 1000)
    return replace(standing, behind=behind)


def oldest_waiting(job: Job, standing: Standing) -> int | None:
    """The timestamp, in milliseconds, of the first record that is not committed; None where it cannot be read."""
    first = standing.first if standing.committed is None else standing.committed
    source = source_of(job)
    reader = source.reader(standing.source, first, standing.end, WAIT_SECONDS * TRIES)
    try:
        for _ in range(TRIES):
            block = reader.read(WAIT_SECONDS)
            times = np.empty(0, np.int64) if block is None else source.times(block)[1]
            if len(times):
                return int(times[0])
            if reader.done:
                break
    except SourceError:
        return None
    finally:
        reader.close()
        source.close()
    return None


def status_json(status: Status) -> list[dict[str, Any]]:
    """Plain data for `--json`, an object a partition; with `kept`, where the source keeps its log for the job."""
    held = {"kept": [f"{one.what} {one.said}" for one in status.kept]} if status.kept else {}
    return [
        {
            "topic": standing.source.topic,
            "partition": standing.source.partition,
            "table": standing.table,
            "committed": standing.committed,
            "end": standing.end,
            "lag": standing.lag,
            "behind_seconds": None if standing.behind is None else round(standing.behind, 1),
            "note": standing.note or None,
            "stopped": status.stopped[standing.table].to_json() if standing.table in status.stopped else None,
            **held,
        }
        for standing in status.standings
    ]


def status_lines(status: Status) -> list[str]:
    """A table with a row a topic, what it comes to, and what to do about tables that stopped."""
    found = status.standings
    kinds = sorted({(standing.source.topic, standing.table) for standing in found})
    rows = [_row([one for one in found if (one.source.topic, one.table) == kind]) for kind in kinds]
    lag = sum(standing.lag for standing in found)
    said = (
        f"{counted(lag, 'offset')} {'is' if lag == 1 else 'are'} not committed yet"
        if lag
        else "everything is committed"
    )
    table = aligned([("topic", "table", "partitions", "committed", "end", "lag", "behind"), *rows])
    notes = {standing.table: standing.note for standing in found if standing.note}
    notes_of = [f"  {name}: {note}" for name, note in notes.items()]
    held = [f"{'' if one.level == 'ok' else 'warning: '}{one.what} {one.said}" for one in status.kept]
    held += [f"  {one.fix}" for one in status.kept if one.fix]
    return [*table, "", said, *notes_of, *held, *stop_lines(status.stopped, status.file)]


def stop_lines(stopped: Mapping[str, StopNote], file: Path) -> list[str]:
    """Which tables stopped, since when and why, and what to type."""
    lines = [f"  {table} stopped, since {note.since_text}: {note.reason}" for table, note in stopped.items()]
    return [*lines, f"next, once that is mended: millrace run {shlex.quote(str(file))} --once"] if lines else []


def _row(mine: Sequence[Standing]) -> tuple[str, ...]:
    first = mine[0]
    return (
        first.source.topic,
        first.table,
        str(len(mine)),
        f"{sum(standing.committed or 0 for standing in mine):,}",
        f"{sum(standing.end for standing in mine):,}",
        f"{sum(standing.lag for standing in mine):,}",
        _age(standing.behind for standing in mine),
    )


def _age(behind: Iterable[float | None]) -> str:
    known = [seconds for seconds in behind if seconds is not None]
    return duration(max(known)) if known else "unknown"
