"""`millrace status`: how far each topic is committed, from the target's ledger and the source; no run is needed."""

from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from ...schemas.errors import SourceError
from ..execution.job_parts import source_of, target_of
from ..execution.standings import Standing, standings
from ..job.formatting import aligned, duration
from ..job.model import Job

WAIT_SECONDS: Final = 1.0
TRIES: Final = 5


def status(job: Job) -> list[Standing]:
    """The standings with the age of what waits. Raises SourceError, SinkError, JobError."""
    source = source_of(job)
    with closing(source), closing(source.connect()) as connection, closing(target_of(job).open()) as sink:
        return [_aged(job, standing) for standing in standings(job, connection, sink)]


def _aged(job: Job, standing: Standing) -> Standing:
    oldest = oldest_waiting(job, standing) if standing.lag else None
    behind = 0.0 if not standing.lag else None
    if oldest is not None:
        behind = max(0.0, datetime.now(UTC).timestamp() - oldest / 1000)
    return Standing(
        source=standing.source,
        table=standing.table,
        committed=standing.committed,
        first=standing.first,
        end=standing.end,
        behind=behind,
    )


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
    return None


def status_json(found: Sequence[Standing]) -> list[dict[str, Any]]:
    """Plain data for `--json`, an object a partition."""
    return [
        {
            "topic": standing.source.topic,
            "partition": standing.source.partition,
            "table": standing.table,
            "committed": standing.committed,
            "end": standing.end,
            "lag": standing.lag,
            "behind_seconds": None if standing.behind is None else round(standing.behind, 1),
        }
        for standing in found
    ]


def status_lines(found: Sequence[Standing]) -> list[str]:
    """A table with a row a topic, and what it comes to."""
    kinds = sorted({(standing.source.topic, standing.table) for standing in found})
    rows = [_row([one for one in found if (one.source.topic, one.table) == kind]) for kind in kinds]
    lag = sum(standing.lag for standing in found)
    said = f"{lag:,} offsets are not committed yet" if lag else "everything is committed"
    return [*aligned([("topic", "table", "partitions", "committed", "end", "lag", "behind"), *rows]), "", said]


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
