"""Change logs: every change exactly once in Parquet or Avro files, on a local disk, S3, GCS or HDFS."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ....schemas.errors import TableError, TransientSinkError
from ....schemas.model.change import PREFIX
from ....schemas.model.ledger import Account, Commit, Ledger, TopicPartition
from ....schemas.model.table import Table, conform, selected
from ...stores import STAGING, Address, open_store, sweep
from .. import Staged, TableSnapshot
from ..shared.commit import TableChanges, commit_changes
from ..shared.drift import InspectedTable
from ..shared.names import folder_name, table_name
from ..shared.staging import Staging
from ..shared.staging_folders import LocalFolder, StoreFolder
from .commit import FilesCommit, FilesTarget
from .ledger import State, newest, write
from .options import FilesOptions
from .writer import FORMATS, LogFiles

ATTEMPTS: Final = 5
SWEPT: Final[set[tuple[str, str, str]]] = set()
"""(place, table, job) whose files beyond the ledger this process has looked for, and whose last commit was whole."""


class FilesSink:
    """Logs in folders below `path`, a local folder or a `gs://`, `s3://` or `hdfs://` URL; mode `append` only.

    A file is there whole or not at all and is never changed; its name says where it begins (see `names`), and is
    given once: so a writer that was thought dead cannot add what another has added. What counts is the ledger, which a
    commit moves last (see `ledger`). Files that a killed commit left beyond the ledger hold changes that are
    still to be committed: the next commit finds them and leaves these changes out of its own files.
    """

    def __init__(self, options: FilesOptions) -> None:
        address = Address(options.path, options.storage_options)
        self._store = open_store(address)
        self._files = LogFiles(self._store, FORMATS[options.format])
        local = address.folder
        self._staged = Staging(StoreFolder(self._store) if local is None else LocalFolder(f"{local}/{STAGING}", local))

    def stage(self, table: Table, delta: pa.RecordBatch) -> Staged:
        """Write the rows into an Arrow file in the folder `_millrace_staging`."""
        return self._staged.put(table, delta)

    def commit(self, table: Table, staged: Sequence[Staged], commit: Commit) -> tuple[Account, ...]:
        """Write the changes beyond the ledger into files, one a stream and date, then a new version of the ledger.

        After another writer's commit, again on top of it. Raises TableError for a table that is no log, and for
        changes whose offsets the commit does not cover.
        """
        mark = (self._store.place, table.name, commit.job)
        fresh = mark not in SWEPT
        SWEPT.discard(mark)
        target = FilesTarget(self._store, self._files, self._staged, fresh, self.tables)
        changes = TableChanges(table, staged, commit)
        place = self._place(table.name)
        accounts = commit_changes(lambda: nullcontext(FilesCommit(target, changes)), changes, place, ATTEMPTS)
        SWEPT.add(mark)
        self._staged.taken(staged)
        return accounts

    def ledger(self, job: str, table: str, partitions: Sequence[TopicPartition]) -> Ledger:
        """The next offsets of these partitions; empty where there is no table yet."""
        return _ledger(newest(self._store, table), job, partitions)

    def scan(self, table: str, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Every change below the ledger, once. Raises TableError."""
        return self._rows(newest(self._store, table), table, columns)

    @contextmanager
    def snapshot(self, table: str) -> Iterator[TableSnapshot]:
        """The newest ledger: files and parts of files beyond it do not count."""
        state = newest(self._store, table)
        yield TableSnapshot(state.table is not None, partial(_ledger, state), partial(self._rows, state, table))

    def columns(self, table: str) -> pa.Schema | None:
        """The log's columns, from the newest ledger."""
        known = newest(self._store, table).table
        return None if known is None else known.columns

    def inspect(self, table: str) -> InspectedTable:
        """The log, from the newest ledger; its files are never changed."""
        return InspectedTable(newest(self._store, table).table)

    def rename(self, table: str, names: Mapping[str, str]) -> None:
        """In the ledger: files that are there keep the older names, and are read by them.

        Raises TransientSinkError where others are always faster.
        """
        for _ in range(ATTEMPTS):
            state = newest(self._store, table)
            known = () if state.table is None else state.table.columns.names
            due = {old: new for old, new in names.items() if old in known}
            if not due or write(self._store, table, state.renamed(due)):
                return
        raise TransientSinkError(f"{self._place(table)}: other writers were faster {ATTEMPTS} times")

    def _rows(self, state: State, table: str, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        if state.table is None:
            raise TableError(f"{self._store.place} has no table {table!r} of Millrace")
        schema = selected(self._store.place, state.table, columns)
        stops = {str(stream): line.entry.next or 0 for stream, line in state.streams.items()}
        # By stream the offsets of the files that reach furthest: the next file may begin among them.
        seen: dict[str, NDArray[np.int64]] = {}
        for file in sorted(self._files.listed(table), key=lambda file: (file.stream, file.first)):
            if file.first < stops.get(file.stream, 0):
                before = seen.get(file.stream, np.empty(0, np.int64))
                within = before[before >= file.first]
                rows, offsets = self._files.below(file, stops[file.stream], within)
                seen[file.stream] = np.concatenate((within, offsets))
                rows = rows.rename_columns([state.renames.get(name, name) for name in rows.column_names])
                yield from (conform(batch, schema) for batch in rows.to_batches())

    def tables(self) -> tuple[str, ...]:
        """The tables' names, sorted."""
        names = [table_name(folder) for folder in self._store.folders() if not folder.lower().startswith(PREFIX)]
        return tuple(sorted(name for name in names if newest(self._store, name).table is not None))

    def describe(self, table: str) -> str:
        """A pattern of its files' names."""
        return f"{self._place(table)}/date=*/*.{self._files.format.ending}"

    def close(self) -> None:
        """Remove staged rows."""
        sweep(self._store)
        self._staged.close()

    def _place(self, table: str) -> str:
        return f"{self._store.place}/{folder_name(table)}"


def _ledger(state: State, job: str, partitions: Sequence[TopicPartition]) -> Ledger:
    others = state.other_jobs(job, {source.topic for source in partitions})
    return replace(state.of_job(job).of(partitions, state.truncate), other_jobs=others)
