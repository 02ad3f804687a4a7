"""`millrace verify` of a job whose source is a database: its tables are compared with the source's own rows."""

from collections.abc import Generator, Iterator
from contextlib import closing
from functools import partial

import pyarrow as pa

from ...schemas.errors import JobError, MillraceError, TableError
from ...schemas.model.modes import Mode
from ...schemas.model.route import Route
from ...schemas.model.unrepresentable import OnUnrepresentable
from ...transforms.proof.report import Report
from ...transforms.proof.source_rows import SourceTable, compare_rows, renamed
from ...transforms.proof.verify import Tell
from ...transforms.sinks import Sink, TableSnapshot
from ...transforms.sources.database import KeepsRows
from ..execution.job_parts import source_of, target_of
from ..execution.start_offsets import by_table, find_routes
from ..job.model import Job

BUSY = (
    "{ahead} changes of the source came after what the target holds: run the job, and verify while nobody writes to "
    "the table"
)


def verify_rows(job: Job, tell: Tell) -> Iterator[Report]:
    """A report for each table. The target must hold all that the source shows: a table that is behind is not proved.

    Raises SourceError, SinkError where they cannot be reached; JobError where such a job cannot be compared.
    """
    source = source_of(job)
    if not isinstance(source, KeepsRows):
        raise JobError(f"{job.file}: verify cannot compare with a source of type {job.source.type}")
    if job.on_unrepresentable is not OnUnrepresentable.NULL_AND_NOTE:
        raise JobError(
            f"{job.file}: verify compares with a database's rows only with on_unrepresentable: null_and_note, not "
            f"{job.on_unrepresentable}"
        )
    with closing(source.connect()) as connection:
        routes = by_table(find_routes(job, connection))
    with closing(target_of(job).open()) as sink:
        for name, route in routes.items():
            try:
                yield _report(job, source, sink, route, tell)
            except (MillraceError, pa.ArrowException) as error:
                yield Report(name, error=str(error))


def _report(job: Job, source: KeepsRows, sink: Sink, route: Route, tell: Tell) -> Report:
    name = route.table
    if route.mode is not Mode.MIRROR:
        raise TableError(f"table {name}: a database's rows say nothing of mode: {route.mode}; mirror is compared")
    if len(route.topics) > 1:
        raise TableError(f"table {name}: several tables of the source share it; each is compared alone")
    tell(f"{name}: comparing with the rows of the source")
    with source.rows(route.topics[0]) as moment, sink.snapshot(name) as table:
        reached = table.ledger(job.job, route.sources).next.get(route.sources[0])
        if reached is None:
            return Report(name, error=f"table {name}: nothing of the job {job.job} is in it yet")
        key = route.key or moment.key
        theirs = renamed(SourceTable(moment.rows, list(moment.columns), key), dict(route.renames))
        report = compare_rows(name, theirs, partial(_scan, table))
        # Asked last: what came meanwhile counts too, and no row is called equal that was not.
        report.ahead = moment.ahead(reached)
    if report.ahead:
        report.error = f"table {name}: {BUSY.format(ahead=f'{report.ahead:,}')}"
    return report


def _scan(table: TableSnapshot, columns: list[str] | None) -> Generator[pa.RecordBatch]:
    # Closed with this generator: a connection of DuckDB has one open result at a time.
    if table.there:
        yield from table.scan(columns)
