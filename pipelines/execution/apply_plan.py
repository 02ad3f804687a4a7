"""What was decided for the tables of a job, done in the target before any message asks for it."""

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from functools import partial

from ...schemas.errors import SinkError, TableError
from ...schemas.merging.schema_changes import Label, PlannedChange
from ...schemas.model.ledger import Commit
from ...schemas.model.table import Table
from ...transforms.retry import retried
from ...transforms.sinks import Sink
from ...transforms.sinks.shared.renames import rename_columns
from ..job.model import Job
from .job_parts import source_of, target_of
from .plan_tables import TablePlan
from .start_offsets import by_table, find_routes


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedPlan:
    """What was done to a table, what is left to decide, and why nothing more could be done."""

    table: str
    done: tuple[PlannedChange, ...] = ()
    left: tuple[PlannedChange, ...] = ()
    error: str = ""


def apply_plans(job: Job, plans: Iterable[TablePlan]) -> list[AppliedPlan]:
    """Rename and add columns, and let them grow, each table by itself; what needs a decision or loses is left.

    Each step is one commit of the target, and one that is done already is none: it may be killed and run again. A table
    that is not there yet is left to the run. Raises SourceError, JobError, and SinkError where the target cannot be
    opened.
    """
    with closing(source_of(job).connect()) as connection, closing(target_of(job).open()) as sink:
        routes = by_table(find_routes(job, connection))
        return [_applied(job, sink, plan, routes[plan.table].renames) for plan in plans if plan.table in routes]


def _applied(job: Job, sink: Sink, plan: TablePlan, renames: tuple[tuple[str, str], ...]) -> AppliedPlan:
    left = tuple(change for change in plan.all if change.label is not Label.SAFE)
    if plan.held is None or plan.planned is None:
        return AppliedPlan(table=plan.table, left=left)
    try:
        retried(f"table {plan.table}", partial(rename_columns, sink, plan.table, renames))
        if not plan.planned.columns.equals(plan.held.columns):
            retried(f"table {plan.table}", partial(_grow, sink, job.job, plan.planned))
    except (TableError, SinkError) as error:
        return AppliedPlan(table=plan.table, left=left, error=str(error))
    done = tuple(change for change in plan.changes if change.label is Label.SAFE and change.acts)
    return AppliedPlan(table=plan.table, done=done, left=left)


def _grow(sink: Sink, job: str, table: Table) -> None:
    sink.commit(table, [], Commit(job, ()))
