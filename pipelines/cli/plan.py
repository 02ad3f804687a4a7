"""`millrace plan`: what the newest schemas would do to each table, and what people changed there."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from ...schemas.merging.schema_changes import Label, PlannedChange
from ...schemas.plurals import counted
from ..execution.plan_tables import TablePlan

WIDTH: Final = max(map(len, Label))


def most_serious(plans: Sequence[TablePlan]) -> Label | None:
    """The label of the most serious change; None where nothing would change."""
    labels = {change.label for plan in plans for change in plan.all}
    return max(labels, key=list(Label).index, default=None)


def plan_json(plans: Sequence[TablePlan]) -> list[dict[str, Any]]:
    """An object a table."""
    return [
        {
            "table": plan.table,
            "topics": dict(plan.origins),
            "exists": plan.held is not None,
            "changes": [change_json(change) for change in plan.changes],
            "by_hand": [change_json(change) for change in plan.drift],
        }
        for plan in plans
    ]


def change_json(change: PlannedChange) -> dict[str, Any]:
    """A change as data."""
    return {"column": change.column, "label": str(change.label), "said": change.said, "hint": change.hint}


def plan_lines(plans: Sequence[TablePlan]) -> list[str]:
    """By table a line a change, then how many there are of each label."""
    lines = [line for plan in plans for line in _table_lines(plan)]
    counts = Counter(change.label for plan in plans for change in plan.all)
    told = ", ".join(f"{counts[label]} {label}" for label in Label if counts[label])
    return [*lines, "", f"{counted(len(plans), 'table')}: {told or 'nothing would change'}; nothing was changed"]


def _table_lines(plan: TablePlan) -> list[str]:
    origins = [f"{topic}: {origin}" for topic, origin in plan.origins.items()]
    head = f"table {plan.table}" + (f" ({'; '.join(origins)})" if origins else "")
    if not plan.all:
        return [f"{head}: nothing to do" if plan.planned is not None else head]
    return [f"{head}:", *(change_line(change) for change in plan.all)]


def change_line(change: PlannedChange) -> str:
    """Its label, its column, what it is."""
    said = f"{change.column}: {change.said}" if change.column else change.said
    return f"  {change.label:<{WIDTH}}  {said}{f'; {change.hint}' if change.hint else ''}"
