"""`millrace resync`: what building a table again would do, and what it has done, for people and as data."""

import shlex
from collections.abc import Iterator
from typing import Any

from ...schemas.plurals import counted
from ..execution.resync import ResyncResult
from ..execution.resync_plan import Older, ResyncPlan
from ..execution.summary import COUNTS
from ..job.model import Job
from .asking import asked


def confirmed(plan: ResyncPlan, yes: bool) -> bool:
    """Whether a person has said so. Raises JobError where nobody can be asked."""
    return yes or asked("resync", list(plan_lines(plan)), "build it again?")


def plan_lines(plan: ResyncPlan) -> Iterator[str]:
    """What it would do, and what stands against it."""
    name = plan.beside.name
    if plan.swapped:
        yield f"table {plan.table}: an earlier resync was killed behind the swap; what it has left is cleaned up"
        return
    yield f"table {plan.table}: it is built again beside, as {name}, and takes the place of the table in one step"
    if plan.copied:
        yield "  a new copy of the source's table, and then its log"
    for part in () if plan.copied else plan.ranges:
        yield f"  {part.source}: {counted(part.stop - part.first, 'offset')} from {part.first:,} on"
    if plan.note is not None:
        yield f"  goes on with what was built since {plan.note.since:%Y-%m-%d %H:%M} UTC; --anew begins again"
    if plan.lost_why:
        yield f"  the table cannot go on by itself: {plan.lost_why.removeprefix(f'table {plan.table}: ')}"
    if plan.loses and plan.older is not Older.REFUSE:
        what = "are carried over" if plan.older is Older.KEEP else "are lost"
        yield f"  {plan.loss}: rows that rest on them {what}"
    yield "  what people changed in the table by hand is gone then"
    if plan.refusal is not None:
        yield f"refused: {plan.refusal.removeprefix(f'table {plan.table}: ')}"


def resync_lines(plan: ResyncPlan, job: Job, result: ResyncResult | None) -> Iterator[str]:
    """What was done; without a result what would be."""
    file = shlex.quote(str(job.file))
    if result is None:
        yield from plan_lines(plan)
        yield "nothing was changed"
    elif result.stopped:
        yield f"table {plan.table}: stopped; the table is as it was, and what was built stays beside"
        yield f"next, to go on: millrace resync {file} --table {shlex.quote(plan.table)}"
    elif plan.swapped:
        yield f"table {plan.table}: the swap had been made; what was left is cleaned up"
        yield f"next: millrace verify {file}"
    else:
        built = result.built
        said = f"{counted(built.read, 'message')} read, {built.applied:,} applied, {built.dead:,} dead"
        yield f"table {plan.table}: built again ({said}), and in its place"
        if plan.loses and plan.older is Older.KEEP:
            yield f"  {counted(result.carried, 'row')} carried over that the source holds no more"
        if built.unfilled:
            yield f"  {counted(built.unfilled, 'unavailable value')} stood in no row: NULL there"
        yield f"next: millrace verify {file}"


def resync_json(plan: ResyncPlan, result: ResyncResult | None) -> dict[str, Any]:
    """The same as data."""
    built = None if result is None or result.stopped else result.built
    names = () if built is None else (*COUNTS, "unfilled")
    return {
        "table": plan.table,
        "beside": plan.beside.name,
        "offsets": {str(part.source): {"from": part.first, "to": part.stop} for part in plan.ranges},
        "goes_on": plan.note is not None,
        "lost": plan.lost_why or None,
        "gone": {str(part.source): {"from": part.first, "to": part.stop} for part in plan.gone},
        "refused": plan.refusal,
        "done": built is not None,
        "stopped": result is not None and result.stopped,
        "carried": 0 if result is None else result.carried,
        **{name: getattr(built, name) for name in names},
    }
