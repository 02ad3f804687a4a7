"""An Iceberg table that was built beside takes the place of another: rows, columns and ledger are one snapshot there.

The tombstones are committed before it, as with any commit: without it, they are void.
"""

from dataclasses import dataclass

import pyarrow as pa

from ....schemas.errors import IncompatibleSchemaError, TableError
from ....schemas.model.change import POSITION
from ....schemas.model.table import Table, conform
from ..shared.ledger import JobLedger, LedgerChange
from ..shared.resync import Swap, handed_over
from . import ledger
from .evolve import Terms, opened, spec_of
from .keys.keyed_table import KeyedTable
from .rows import from_stored, read_all, to_stored, write
from .table_format.columns import LastIds, Shape, grown, restricted
from .table_format.partitions import new_spec
from .table_format.snapshots import Change
from .tombstones import Tombstones


@dataclass(frozen=True, slots=True)
class OpenTable:
    """A table and its tombstones."""

    table: KeyedTable
    tombstones: Tombstones


def jobs(target: KeyedTable) -> tuple[str, ...]:
    """The jobs that have a ledger in the table's properties, sorted."""
    return ledger.jobs(target.table.properties) if target.refresh() else ()


def swap(live: OpenTable, beside: OpenTable, wanted: Swap, terms: Terms) -> None:
    """Raises Conflict where another commit was faster, LedgerGapError, TableError."""
    target, source = live.table, beside.table
    built = source.shape if source.refresh() else None
    if built is None or not built.ids:
        raise TableError(f"table {wanted.table}: {wanted.beside} has no rows; nothing was swapped")
    target.refresh()
    opened(target, wanted.table)
    properties = target.table.properties
    before = JobLedger() if wanted.lost else ledger.read(properties, wanted.job, wanted.sources)
    theirs = source.table.properties
    after = handed_over(wanted, before, ledger.read(theirs, wanted.job, wanted.sources))
    change = _columns(target, Table(wanted.table, built.table.key, built.table.columns), terms)
    assert change.shape is not None
    _write(target, source, built, change)
    ledgers = LedgerChange(wanted.job, wanted.table, JobLedger(), after, ())
    change.properties |= ledger.whole_properties(properties, ledgers, ledger.last_truncate(theirs))
    change.properties |= live.tombstones.put(change.shape, beside.tombstones.all(built, theirs), properties)
    target.commit(change, "")
    target.forget_index()


def _columns(target: KeyedTable, table: Table, terms: Terms) -> Change:
    """A change that gives the table exactly these columns; those of a type that it has stay the same ones."""
    old = target.shape
    assert old is not None
    last = LastIds.of(target.table.metadata)
    shape, _ = grown(restricted(old, table.columns, last), table, last, target.catalog.appends_columns)
    fields = target.table.spec().fields
    if any(field.source_id not in shape.ids for field in fields):
        raise IncompatibleSchemaError(
            f"table {table.name}: it is partitioned by a column that is gone, or has another type now, which Iceberg "
            "cannot change; write to a new table"
        )
    return Change(shape=shape, spec=new_spec(terms, shape) if not old.ids and terms else None)


def _write(target: KeyedTable, source: KeyedTable, built: Shape, change: Change) -> None:
    """All rows of `source` in files of the target, whose own go."""
    shape = change.shape
    assert shape is not None
    columns = pa.schema([*built.table.columns, built.file.field(POSITION).remove_metadata()])
    for rows in read_all(source, built, columns.names):
        batches = [conform(batch, columns) for batch in from_stored(columns, rows)]
        if batches:
            stored = to_stored(shape.table.columns, pa.Table.from_batches(batches), shape)
            change.files += [data for data, _ in write(target.files, shape, spec_of(target, change), stored)]
    for file in target.layout.files.values():
        target.drop(file, change)
