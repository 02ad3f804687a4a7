"""A Delta table that was built beside takes the place of another: its rows, columns and ledger are one commit there.

The tombstones come before it, as with any commit: without it, the next one takes them back.
"""

import json
from typing import Final

import pyarrow as pa
import pyarrow.fs as pafs

from ....schemas.errors import TableError
from ....schemas.model.table import Table
from ..shared.ledger import JobLedger, LedgerChange
from ..shared.names import folder_name
from ..shared.resync import Swap, handed_over
from . import client
from .client import DeltaTable
from .tables import TOMBSTONES, DeltaTables

LOG: Final = "_delta_log"


def jobs(target: DeltaTable | None) -> tuple[str, ...]:
    """The jobs that the table's log names, sorted: as far back as it is kept."""
    told = [one[client.ACCOUNTS] for one in target.history() if client.ACCOUNTS in one] if target is not None else []
    named = (json.loads(text).get("job") for text in told if text.startswith("{"))
    return tuple(sorted({name for name in named if name}))


def swap(tables: DeltaTables, wanted: Swap) -> None:
    """Raises Conflict where another commit was faster, LedgerGapError, TableError."""
    target, beside = tables.open(wanted.table), tables.open(wanted.beside)
    built = None if beside is None else tables.columns(wanted.beside, beside)
    if beside is None or built is None:
        raise TableError(f"table {wanted.table}: {wanted.beside} has no rows; nothing was swapped")
    if target is None:
        target = tables.grown(None, Table(wanted.table, (), pa.schema([])))
    before = JobLedger() if wanted.lost else client.job_ledger(target, wanted.job, wanted.sources)
    after = handed_over(wanted, before, client.job_ledger(beside, wanted.job, wanted.sources))
    change = LedgerChange(wanted.job, wanted.table, JobLedger(), after, ())
    entry = client.whole_entry(change, client.last_truncate(beside))
    tombstones = _tombstones(tables, wanted, built, beside)
    client.replace(target, _rows(beside), entry=client.with_tombstones(entry, target, tombstones))


def _rows(table: DeltaTable) -> pa.RecordBatchReader:
    schema = client.columns(table)
    batches = table.to_pyarrow_dataset().to_batches(columns=schema.names)
    plain = (
        pa.RecordBatch.from_arrays([batch.column(name) for name in schema.names], schema.names) for batch in batches
    )
    return pa.RecordBatchReader.from_batches(schema, (batch.cast(schema) for batch in plain))


def _tombstones(tables: DeltaTables, wanted: Swap, built: Table, beside: DeltaTable) -> DeltaTable:
    """The live table's tombstones as those of the other table are."""
    theirs = tables.tombstones(built, client.tombstones_at(beside))
    uri = f"{tables.root}/{TOMBSTONES}/{folder_name(wanted.table)}"
    try:
        mine = client.open_table(uri, tables.options)
    except TableError:  # they are damaged
        _delete(tables, f"{TOMBSTONES}/{folder_name(wanted.table)}")
        mine = None
    mine = mine or client.create(uri, client.columns(theirs), tables.options)
    client.replace(mine, _rows(theirs))
    return client.open_table(uri, tables.options) or mine


def drop(tables: DeltaTables, name: str) -> None:
    """Delete the folders of a table and of its tombstones."""
    for folder in (folder_name(name), f"{TOMBSTONES}/{folder_name(name)}"):
        _delete(tables, folder)


def _delete(tables: DeltaTables, folder: str) -> None:
    """The log first, so that no log is without its files."""
    files, root = tables.files()
    path = f"{root}/{folder}" if root else folder
    found = files.get_file_info(pafs.FileSelector(path, allow_not_found=True, recursive=True))
    paths = [one.path for one in found if one.type == pafs.FileType.File]
    for one in sorted(paths, key=lambda one: (f"/{LOG}/" in one, one), reverse=True):
        files.delete_file(one)
    if tables.local and found:
        files.delete_dir(path)
