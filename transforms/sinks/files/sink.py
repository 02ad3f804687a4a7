"""Change logs: every change exactly once in Parquet or Avro files, on a local disk, S3, GCS or HDFS."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ....schemas.errors import TableError, TerminalSinkError, TransientSinkError
from ....schemas.model.change import PREFIX
from ....schemas.model.ledger import Account, Commit, Ledger, TopicPartition
from ....schemas.model.modes import Mode, mode_of
from ....schemas.model.table import Table, check_name, conform, enlarged, selected
from ...stores import Address, open_store
from .. import Staged, TableSnapshot
from ..shared.ledger import advanced
from ..shared.names import folder_name, table_name
from .ledger import Reach, State, newest, write
from .names import LEDGER, NO_DATE_NAME, Span, Stream
from .offset_runs import counts, runs_of
from .options import FilesOptions
from .staging import StagedRows
from .writer import FORMATS, LogFiles

ATTEMPTS: Final = 5
SWEPT: Final[set[tuple[str, str, str]]] = set()
"""(place, table, job) whose files beyond the ledger this process has looked for, and whose last commit was whole."""


class FilesSink:
    """Logs in folders below `path`, a local folder or a `gs://`, `s3://` or `hdfs://` URL; mode `append` only.

    A file is there whole or not at all and is never changed; its name says where it begins (see `files_log`), and is
    given once: so a writer that was thought dead cannot add what another has added. What counts is the ledger, which a
    commit moves last (see `files_ledger`). Files that a killed commit left beyond the ledger hold changes that are
    still to be committed: the next commit finds them and leaves these changes out of its own files.
    """

    def __init__(self, options: FilesOptions) -> None:
        self._store = open_store(Address(options.path, options.storage_options))
        self._files = LogFiles(self._store, FORMATS[options.format])
        self._staged = StagedRows(self._store)

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
        for _ in range(ATTEMPTS):
            accounts = self._attempt(table, staged, commit, fresh)
            if accounts is not None:
                SWEPT.add(mark)
                self._staged.taken(staged)
                return accounts
        raise TransientSinkError(f"{self._place(table.name)}: other writers were faster {ATTEMPTS} times")

    def _attempt(
        self, table: Table, staged: Sequence[Staged], commit: Commit, fresh: bool
    ) -> tuple[Account, ...] | None:
        """The accounts; None where another commit came first."""
        state = newest(self._store, table.name)
        known = self._grown(state, table, staged)
        rows = self._staged.read(staged, known.columns) if staged and known is not None else None
        runs = [] if rows is None else list(runs_of(commit, rows))
        entries = state.entries(commit.job)
        accounts = commit.settle(*counts(runs, entries))
        after = advanced(table.name, commit, accounts, entries)
        if state.version == 0:
            self._check_store(table.name)
        reaches = state.reached(commit.job, list(after))
        if fresh:
            reaches = self._found(table.name, reaches, commit.topic_ids)
        for run in runs:
            topic_id = commit.topic_ids.get(run.stream.topic)
            reaches[run.stream] = self._files.write(table.name, run, reaches[run.stream], topic_id)
        return accounts if write(self._store, table.name, state.after(commit, known, reaches, after)) else None

    def _check_store(self, table: str) -> None:
        """All of this rests on names that are given once: a store that gives them twice is refused at the start."""
        name = f"{folder_name(table)}/{LEDGER}/probe"
        self._store.create(name, pa.py_buffer(b"{}"))
        if self._store.create(name, pa.py_buffer(b"{}")):
            raise TerminalSinkError(
                f"{self._store.place}: the store writes over an object though it was told not to (If-None-Match or "
                "ifGenerationMatch): a log there could lose or double changes, so nothing was written"
            )

    def _grown(self, state: State, table: Table, staged: Sequence[Staged]) -> Table | None:
        """The table with all columns of the staged rows; None for one that holds a ledger only."""
        old = state.table
        if state.version == 0:
            check_name(table.name, self.tables())
        if not (staged or len(table.columns)):
            return old
        wanted = enlarged(self._place(table.name), old, table, [part.table for part in staged])
        if mode_of(wanted.columns.names) is not Mode.APPEND:
            raise TableError(f"table {table.name}: files keep every change, not a row a key; set mode: append")
        return wanted

    def _found(self, table: str, reaches: Mapping[Stream, Reach], topic_ids: Mapping[str, int]) -> dict[Stream, Reach]:
        """With the files beyond the ledger that are there: of a commit that was killed, or that goes on elsewhere."""
        texts = {str(stream): stream for stream in reaches}
        ahead: dict[Stream, list[Span]] = {stream: list(reach.ahead) for stream, reach in reaches.items()}
        for file in self._files.listed(table, _since([reach.date for reach in reaches.values()])):
            stream = texts.get(file.stream)
            if stream is not None and file.first >= (reaches[stream].next or 0):
                ahead[stream].extend(self._files.spans(file, topic_ids.get(stream.topic)))
        return {stream: Reach(reach.next, tuple(ahead[stream]), reach.date) for stream, reach in reaches.items()}

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
        self._staged.close()

    def _place(self, table: str) -> str:
        return f"{self._store.place}/{folder_name(table)}"


def _ledger(state: State, job: str, partitions: Sequence[TopicPartition]) -> Ledger:
    entries = state.entries(job)
    held = {source: entries[source] for source in partitions if source in entries}
    topics = {source.topic for source in partitions}
    return Ledger(
        {source: entry.next for source, entry in held.items() if entry.next is not None},
        state.truncate,
        {topic: number for (owner, topic), number in state.topic_ids.items() if owner == job and topic in topics},
        {source: entry.start for source, entry in held.items() if entry.start is not None},
        state.other_jobs(job, topics),
        marks={source: entry.mark for source, entry in held.items()},
    )


def _since(dates: Sequence[str]) -> str:
    """A day before the earliest of the streams' last dates; empty for all dates. Times of records may step back."""
    if not dates or any(date in ("", NO_DATE_NAME) for date in dates):
        return ""
    return str(np.datetime64(min(dates)) - np.timedelta64(1, "D"))
