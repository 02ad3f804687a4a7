"""`millrace compact`: maintenance of the tables that a job's target keeps, for targets that need any."""

from collections.abc import Mapping
from contextlib import closing

from ...transforms.sinks import Maintained
from ..execution.job_parts import target_of
from ..job.formatting import aligned
from ..job.model import Job

Done = Mapping[str, Mapping[str, int]]


def maintain(job: Job) -> Done:
    """What was done, by table; empty for a target without tables or one that takes care of itself. Raises SinkError."""
    with closing(target_of(job).open()) as sink:
        if not isinstance(sink, Maintained):
            return {}
        return {table: dict(sink.maintain(table)) for table in sink.tables()}


def maintenance_lines(done: Done) -> list[str]:
    """A line a table."""
    if not done:
        return ["nothing to do: the target has no tables, or keeps them in order itself"]
    names = list(dict.fromkeys(name for counts in done.values() for name in counts))
    rows = [[table, *(f"{counts.get(name, 0):,}" for name in names)] for table, counts in done.items()]
    return aligned([["table", *(f"files {name}" for name in names)], *rows])
