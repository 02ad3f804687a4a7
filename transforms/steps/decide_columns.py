"""Columns whose type changed (`on_incompatible: new_column`): placed before staging, decided before the commit.

Shards and windows are staged side by side, so two of them may give a new type different places. The commit finds that
out: it gives the table the columns that all of them need, and the changes are read again from the ledger.
"""

from collections.abc import Sequence

import pyarrow as pa

from ...schemas.errors import ColumnsDecidedError
from ...schemas.merging.placing import place, placed_batches
from ...schemas.model.change import POSITION
from ...schemas.model.incompatible_columns import OnIncompatible
from ...schemas.model.ledger import Commit
from ...schemas.model.route import Route
from ...schemas.model.table import Table
from ..sinks import Sink
from ..sinks.shared.lookup import columns_of, widening_of
from .early_merge import table_key


def placed(sink: Sink, route: Route, batches: Sequence[pa.RecordBatch]) -> list[pa.RecordBatch]:
    """The changes of one shard as the table's columns take them; of a column that is new, the earliest type has it."""
    if route.on_incompatible is not OnIncompatible.NEW_COLUMN:
        return list(batches)
    ordered = sorted(batches, key=lambda batch: batch.column(POSITION)[0].as_py() if batch.num_rows else b"")
    held = columns_of(sink, route.table)
    return placed_batches(table_key(batches[0]), held, ordered, widening_of(sink))


def decide_columns(sink: Sink, job: str, route: Route, tables: Sequence[Table]) -> None:
    """Give the table all columns that these need, where they disagree, and raise ColumnsDecidedError; else nothing."""
    if route.on_incompatible is not OnIncompatible.NEW_COLUMN or not tables:
        return
    key = tables[0].key
    # Those that know more types first: what they saw the others will see.
    schemas = sorted((table.columns for table in tables), key=len, reverse=True)
    placing = place(key, columns_of(sink, route.table), schemas, widening_of(sink))
    if not placing.moves:
        return
    sink.commit(Table(route.table, key, placing.columns), [], Commit(job, ()))
    raise ColumnsDecidedError(f"table {route.table}: its columns for values of new types are there now; run it again")
