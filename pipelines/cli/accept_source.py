"""`millrace accept-source`: a person says that the source which has taken over is the right one to go on with."""

import shlex
from collections.abc import Collection, Mapping
from contextlib import closing

import pyarrow as pa

from ...schemas.errors import JobError
from ...schemas.model.ledger import Account, Commit
from ...schemas.model.table import Table
from ...schemas.plurals import counted
from ...schemas.suggestions import guess
from ..execution.job_parts import source_of, target_of
from ..execution.start_offsets import anchor, by_table, find_read_plan, find_routes
from ..job.model import Job


def accept_source(job: Job, tables: Collection[str]) -> dict[str, int]:
    """Write into the ledger of these tables, or of all, that the next new source of each partition is right.

    How many partitions there are, by table. The next run finds where the new source begins. Raises JobError for an
    unknown table, SourceError, SinkError.
    """
    with closing(source_of(job).connect()) as connection, closing(target_of(job).open()) as sink:
        topics = find_routes(job, connection)
        routes = by_table(topics)
        for name in tables:
            if name not in routes:
                raise JobError(f"--table {name}: the job fills no such table{guess(name, list(routes))}")
        # A table may have stopped before its first commit: then its ledger knows of no partition yet.
        anchor(job, sink, topics, find_read_plan(job, connection, sink, topics))
        for name in tables or routes:
            accounts = tuple(Account(source.topic, source.partition, -1, -1) for source in routes[name].sources)
            sink.commit(Table(name, (), pa.schema([])), [], Commit(job.job, accounts, accept=True))
        return {name: len(routes[name].sources) for name in tables or routes}


def accepted_lines(accepted: Mapping[str, int], job: Job) -> list[str]:
    """A line a table, then what to do."""
    lines = [
        f"{name}: the next new source of each of {counted(count, 'partition')} is accepted, once"
        for name, count in accepted.items()
    ]
    return [*lines, f"next: millrace run {shlex.quote(str(job.file))}"]
