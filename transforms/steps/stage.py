"""Stage the changes of a shard: one row a key, put where the commit of the table finds it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import apache_beam as beam
import pyarrow as pa

from ...schemas.errors import MillraceError
from ...schemas.merging.log_order import Committed
from ...schemas.merging.modes.at_commit import split
from ...schemas.merging.newest_by_key import newest_changes
from ...schemas.model.change import AFTER, SOURCE, UNAVAILABLE
from ...schemas.model.ledger import Ledger
from ...schemas.model.route import Route
from ...schemas.model.table import Table
from ..sinks import Sink, Staged
from ..sinks.target import Target
from .arrow_errors import told_of
from .decide_columns import placed
from .decode import Failure
from .early_merge import superseded_before, table_key


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one shard of a table and window came to; `rows` counts the staged rows by source number.

    The commit completes the others: rows of keys that changed (see `NewestChanges`), and `need_target`, rows that need
    the target's current row of their key.
    """

    table: Table
    staged: Staged
    rows: Mapping[int, int]
    superseded: Mapping[int, int]
    new_key_rows: pa.RecordBatch | None
    old_key_rows: pa.RecordBatch | None
    need_target: pa.RecordBatch | None = None


class Stage(beam.DoFn):
    """((table, shard), changes of a window) to (table, Part or Failure)."""

    def __init__(self, target: Target, job: str, routes: Mapping[str, Route]) -> None:
        self._target, self._job, self._routes = target, job, routes

    def setup(self) -> None:
        self._sink = self._target.open()

    def teardown(self) -> None:
        self._sink.close()

    def process(
        self, element: tuple[tuple[str, int], Iterable[pa.RecordBatch]]
    ) -> Iterator[tuple[str, Part | Failure]]:
        (name, _), batches = element[0], list(element[1])
        try:
            yield name, stage(self._sink, self._job, self._routes[name], batches)
        except MillraceError as error:
            yield name, Failure(name, error)


def stage(sink: Sink, job: str, route: Route, batches: Sequence[pa.RecordBatch]) -> Part:
    """Merge the changes of one shard and stage its delta. Raises TableError, SinkError."""
    with told_of(route.table, f"staging {sum(batch.num_rows for batch in batches):,} changes"):
        return staged_behind(sink, route, batches, committed(sink, job, route, batches))


def staged_behind(sink: Sink, route: Route, batches: Sequence[pa.RecordBatch], before: Committed | None) -> Part:
    """The same, behind what `before` says of the partitions."""
    batches = placed(sink, route, batches)
    done = newest_changes(route.table, table_key(batches[0]), batches, before)
    rows, superseded = _counted(done.delta), Counter(done.superseded)
    for batch in batches:
        superseded.update(superseded_before(batch))
    if done.new_key_rows is not None:
        rows.update(_counted(done.new_key_rows))
    now, need_target = split(done.table, done.delta)
    return Part(
        table=done.table,
        staged=sink.stage(done.table, now),
        rows={number: count for number, count in rows.items() if number >= 0},
        superseded=superseded,
        new_key_rows=done.new_key_rows,
        old_key_rows=done.old_key_rows,
        need_target=need_target,
    )


def committed(sink: Sink, job: str, route: Route, batches: Sequence[pa.RecordBatch]) -> Committed | None:
    """What the target has from the partitions of these changes; asked only where some change depends on it."""
    if not (route.epochs or any({AFTER, UNAVAILABLE} & set(batch.schema.names) for batch in batches)):
        return None
    numbers = {number for batch in batches for number in batch.column(SOURCE).unique().to_pylist()}
    sources = {route.source(number) for number in numbers if number >= 0}
    ledger = sink.ledger(job, route.table, sorted(sources | set(route.sources if -1 in numbers else ())))
    highest = {
        route.number(source.topic, source.partition): mark.highest
        for source, mark in ledger.marks.items()
        if mark.connectors
    }
    return Committed(highest, ledger.truncate, epochs_of(route, ledger))


def epochs_of(route: Route, ledger: Ledger) -> dict[int, tuple[tuple[int, int], ...]]:
    """By source number the beginnings of epochs, where a partition has any."""
    return {
        route.number(source.topic, source.partition): mark.epochs.begins
        for source, mark in ledger.marks.items()
        if mark.epochs.begins
    }


def _counted(delta: pa.RecordBatch) -> Counter[int]:
    counts = delta.column(SOURCE).value_counts()
    return Counter(dict(zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True)))
