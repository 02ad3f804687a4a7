"""Delta tables below one place: found, opened, made, and grown to the columns that they need."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa
import pyarrow.fs as pafs

from ....schemas.errors import TableError, TerminalSinkError
from ....schemas.merging.renaming import with_names
from ....schemas.model import stored_format
from ....schemas.model.change import POSITION, PREFIX
from ....schemas.model.table import Table, conform
from ..shared.damage import way_out
from ..shared.names import folder_name, table_name
from . import client
from .client import DeltaTable
from .columns import POSITION_FIELD, VERSION, column_name, delta_schema, from_delta, read_table, to_delta

TOMBSTONES: Final = "_millrace_tombstones"
DELETED_AT: Final = pa.field("_millrace_deleted_at", pa.timestamp("us", "UTC"))


@dataclass(frozen=True)
class DeltaTables:
    """`root` is an absolute folder or a URL without a slash at its end, `options` are those of its storage."""

    root: str
    options: Mapping[str, str] = field(repr=False)

    @property
    def local(self) -> bool:
        """Whether the root is a folder of this machine."""
        return "://" not in self.root

    def uri(self, name: str) -> str:
        """Where a table stands."""
        return f"{self.root}/{folder_name(name)}"

    def files(self) -> tuple[pafs.FileSystem, str]:
        """The file system of the root, and the root's path in it."""
        if self.local:
            return pafs.LocalFileSystem(use_mmap=True), self.root
        return client.file_system(self.root, self.options), ""

    def names(self) -> tuple[str, ...]:
        """The tables that Millrace keeps here and that have columns, sorted."""
        files, root = self.files()
        entries = files.get_file_info(pafs.FileSelector(root, allow_not_found=True))
        folders = [entry.base_name for entry in entries if entry.type == pafs.FileType.Directory]
        names = [table_name(folder) for folder in folders if not folder.lower().startswith(PREFIX)]
        return tuple(sorted(name for name in names if self._is_ours(name)))

    def open(self, name: str) -> DeltaTable | None:
        """The newest version of a table; None where there is none."""
        return client.open_table(self.uri(name), self.options)

    def columns(self, name: str, target: DeltaTable) -> Table | None:
        """The table as the stream has it; None for one that holds a ledger only. Raises TerminalSinkError."""
        schema = client.columns(target)
        table = read_table(name, schema)
        mine = len(table.columns) + 1 if table else 1
        if POSITION not in schema.names or len(schema) != mine:
            raise TerminalSinkError(
                f"{self.uri(name)} is a Delta table that Millrace did not make, or that has other columns by now: "
                "set another `to`, or put its columns back as they were"
            )
        if table is not None:
            stored_format.POSITIONS.check((schema.field(POSITION).metadata or {}).get(VERSION), self.uri(name))
        return table

    def existing(self, name: str) -> tuple[DeltaTable, Table]:
        """A table that has columns. Raises TableError where there is none."""
        target = self.open(name)
        table = None if target is None else self.columns(name, target)
        if target is None or table is None:
            raise TableError(f"{self.root} has no table {name!r} of Millrace")
        return target, table

    def grown(self, target: DeltaTable | None, table: Table) -> DeltaTable:
        """The Delta table with exactly these columns; it is made where there is none."""
        return self._fitted(self.uri(table.name), target, table, [POSITION_FIELD])

    def rename(self, target: DeltaTable, table: Table, names: Mapping[str, str]) -> None:
        """Write all rows anew with columns of other names, which are not of the key, in one commit."""
        renamed = with_names(table, names)
        stored = pa.schema([*delta_schema(renamed), POSITION_FIELD])
        held = [*(column_name(name) for name in table.columns.names), POSITION]
        batches = target.to_pyarrow_dataset().to_batches(columns=held)
        rows = (conform(batch.rename_columns(stored.names), stored) for batch in batches)
        client.replace(target, pa.RecordBatchReader.from_batches(stored, rows), told="renamed")

    def tombstones(self, table: Table, committed: int | None) -> DeltaTable:
        """The table of tombstones, with the key columns as the table has them.

        `committed` is its version as of the table's last commit. What was written after that belongs to a commit that
        never came, and is taken back: it would refuse changes that stand before the deletes.
        """
        uri = f"{self.root}/{TOMBSTONES}/{folder_name(table.name)}"
        keys = Table(table.name, table.key, pa.schema([table.columns.field(name) for name in table.key]))
        found = client.open_table(uri, self.options)
        if committed and (found is None or found.version() < committed):
            raise TableError(f"table {table.name}: its tombstones, {uri}, are gone or older; {way_out(table.name)}")
        if found is not None and committed is not None and found.version() > committed:
            client.restore(found, committed)
            found = client.open_table(uri, self.options)
        return self._fitted(uri, found, keys, [POSITION_FIELD, DELETED_AT])

    def _fitted(self, uri: str, target: DeltaTable | None, table: Table, own: list[pa.Field]) -> DeltaTable:
        """Made, widened by new columns, or rewritten in wider types; `own` are Millrace's columns after the others."""
        wanted = delta_schema(table)
        if target is None:
            return client.create(uri, pa.schema([*wanted, *own]), self.options)
        old = read_table(table.name, client.columns(target))
        known = old.columns if old is not None else pa.schema([])
        if known.equals(table.columns):
            return target
        if all(known.field(name).type.equals(table.columns.field(name).type) for name in known.names):
            client.add_columns(target, pa.schema(list(wanted)[len(known) :]))
        else:
            _rewrite(target, known, table.columns, pa.schema([*wanted, *own]))
        return client.open_table(uri, self.options) or target

    def _is_ours(self, name: str) -> bool:
        try:
            target = self.open(name)
        except TableError:  # whoever asks for it hears why
            return True
        return target is not None and read_table(name, client.columns(target)) is not None


def _rewrite(target: DeltaTable, old: pa.Schema, new: pa.Schema, stored: pa.Schema) -> None:
    """Copy all rows by way of the stream's own types, in one commit, batch by batch."""
    own = list(stored)[len(new) :]
    names = [*(column_name(name) for name in old.names), *(field.name for field in own)]
    batches = target.to_pyarrow_dataset().to_batches(columns=names)
    grown = (conform(batch, pa.schema([*new, *own])) for batch in from_delta(pa.schema([*old, *own]), batches))
    converted = (conform(to_delta(new, batch), stored) for batch in grown)
    client.replace(target, pa.RecordBatchReader.from_batches(stored, converted))
