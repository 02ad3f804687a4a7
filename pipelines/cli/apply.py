"""`millrace apply`: what was decided in the job file, done in the target."""

import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from ..execution.apply_plan import AppliedPlan
from ..job.model import Job
from .plan import change_json, change_line


def applied_json(applied: Sequence[AppliedPlan]) -> list[dict[str, Any]]:
    """An object a table."""
    return [
        {
            "table": one.table,
            "done": [change_json(change) for change in one.done],
            "left": [change_json(change) for change in one.left],
            "error": one.error or None,
        }
        for one in applied
    ]


def applied_lines(applied: Sequence[AppliedPlan], job: Job) -> Iterator[str]:
    """By table what was done and what is left, then what to do."""
    for one in applied:
        if one.error:
            yield f"table {one.table}: {one.error.removeprefix(f'table {one.table}: ')}"
        elif not one.done:
            yield f"table {one.table}: nothing to do"
        else:
            yield f"table {one.table}, done:"
            yield from (change_line(change) for change in one.done)
        if one.left:
            yield f"table {one.table}, left as it is:"
            yield from (change_line(change) for change in one.left)
    yield f"next: millrace run {shlex.quote(str(job.file))}"
