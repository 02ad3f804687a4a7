"""What snapshots did to a table, and may have left in it, for people."""

from collections.abc import Mapping
from typing import Final

from ...schemas.errors import MillraceError
from ...schemas.merging.whole_snapshots import whole_snapshots
from ...schemas.model.ledger import Ledger
from ...schemas.model.modes import Mode
from ...schemas.model.route import OnSnapshot, Route
from ...schemas.model.snapshot_marks import BEGINS
from ...transforms.sinks import Sink
from ..job.model import Job
from .start_offsets import by_table
from .summary import AGAIN, KEPT, Summary

WAITS: Final = (
    "a whole snapshot was read; the rows that it does not have are deleted once every partition is read past its end"
)


def snapshot_note(route: Route, ledger: Ledger) -> str:
    """What a table's ledger says of snapshots that a person should know; empty where there is nothing."""
    if route.mode is Mode.APPEND:
        return ""
    marks = [one for mark in ledger.marks.values() for known in mark.snapshots.values() for one in known]
    if route.on_snapshot is OnSnapshot.UPSERT:
        return AGAIN if sum(one.kind == BEGINS for one in marks) > 1 else ""
    if whole_snapshots(ledger.marks):
        return WAITS
    ended = [one for mark in ledger.marks.values() for one in mark.ended.values()]
    kept = max(ended, default=None)
    return KEPT.format(why=kept.kept) if kept is not None and kept.kept else ""


def end_snapshots(job: Job, sink: Sink, routes: Mapping[str, Route], summary: Summary) -> dict[str, MillraceError]:
    """Act on snapshots whose end was read by an earlier pass; the tables where that failed, and why."""
    waiting = {
        name: route
        for name, route in by_table(routes).items()
        if route.on_snapshot is OnSnapshot.REPLACE and route.mode is not Mode.APPEND
    }
    if not waiting:
        return {}
    # The compiled loops take a second to import: a run without such tables does without them.
    from ...transforms.steps.snapshot_ends import SnapshotEnds
    from .job_decoders import decoders_of

    failed: dict[str, MillraceError] = {}
    for name, route in waiting.items():
        try:
            acted = SnapshotEnds(job=job.job, route=route, decoders=decoders_of(job)).act(sink)
        except MillraceError as error:
            failed[name] = error
            continue
        if acted.deleted or acted.kept:
            table = summary.table(name)
            table.replaced, table.kept = table.replaced + acted.deleted, acted.kept or table.kept
    return failed
