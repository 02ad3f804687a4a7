"""A commit to a change log: files of changes, then a new version of the ledger, which alone counts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from ....schemas.errors import TableError, TerminalSinkError
from ....schemas.model.ledger import Account, TopicPartition
from ....schemas.model.modes import Mode, mode_of
from ....schemas.model.table import Table
from ...stores import Store
from .. import Staged
from ..shared.commit import Conflict, Counts, HeldTable, TableChanges
from ..shared.ledger import JobLedger, LedgerChange
from ..shared.names import folder_name
from ..shared.staging import Staging
from .ledger import FilesAhead, Reach, State, newest, write
from .names import LEDGER, NO_DATE_NAME, Span, Stream
from .offset_runs import Run, counts, runs_of
from .writer import LogFiles


@dataclass(frozen=True, slots=True)
class FilesTarget:
    """What commits to one log share, attempt by attempt.

    `look_for_files`: the last commit of this process was not whole, or there was none, so files of a killed commit may
    lie beyond the ledger.
    """

    store: Store
    files: LogFiles
    staging: Staging
    look_for_files: bool
    names: Callable[[], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class JudgedRuns:
    """How many changes are beyond the ledger, and how many it has."""

    counts: Counts


@dataclass(slots=True)
class FilesCommit:
    """`state` is the version of the ledger that the commit builds on."""

    on: FilesTarget
    changes: TableChanges
    state: State = field(default_factory=State)
    table: Table | None = None
    truncated: bytes | None = None
    reaches: dict[Stream, Reach] | None = None

    @property
    def place(self) -> str:
        """The log's folder."""
        return f"{self.on.store.place}/{folder_name(self.changes.name)}"

    def already_committed(self) -> tuple[Account, ...] | None:
        """Nothing tells: names of files and the ledger refuse what is repeated."""
        return None

    def held(self) -> HeldTable:
        """The newest version of the ledger."""
        self.state = newest(self.on.store, self.changes.name)
        self.table = self.state.table
        return HeldTable(self.state.table, self.state.truncate, exists=self.state.version > 0)

    def names(self) -> tuple[str, ...]:
        """Reads the ledgers of all logs."""
        return self.on.names()

    def grow(self, table: Table) -> None:
        """With the ledger's new version. Raises TableError for a table that is no log."""
        if mode_of(table.columns.names) is not Mode.APPEND:
            raise TableError(f"table {table.name}: files keep every change, not a row a key; set mode: append")
        self.table = table

    def job_ledger(self, job: str, partitions: Sequence[TopicPartition]) -> JobLedger:
        """From the version."""
        return self.state.of_job(job)

    def read(self, table: Table, staged: Sequence[Staged]) -> list[Run]:
        """By stream, in the order of offsets. Raises TableError for changes whose offsets the commit does not cover."""
        return list(runs_of(self.changes.commit, self.on.staging.read(staged, table.columns)))

    def judge(self, rows: list[Run], floor: bytes | None) -> JudgedRuns:
        """By offset: a log keeps every change once, whatever its position."""
        return JudgedRuns(counts(rows, self.state.of_job(self.changes.commit.job).entries))

    def truncate(self, position: bytes) -> None:
        """Only kept: a log loses no change."""
        self.truncated = position

    def write(self, rows: list[Run], judged: JudgedRuns) -> None:
        """One file for each stream and date."""
        reaches = self._reached(self.changes.sources)
        for run in rows:
            topic_id = self.changes.commit.topic_ids.get(run.stream.topic)
            reaches[run.stream] = self.on.files.write(self.changes.name, run, reaches[run.stream], topic_id)

    def prune_tombstones(self) -> None:
        """There are none."""

    def write_ledger(self, change: LedgerChange) -> None:
        """The next version, unless another commit has made it: then Conflict."""
        held = FilesAhead(self._reached(list(change.after.entries)), self.table, self.truncated)
        if not write(self.on.store, self.changes.name, self.state.after(change, held)):
            raise Conflict(self.place)

    def _reached(self, sources: Sequence[TopicPartition]) -> dict[Stream, Reach]:
        """How far files hold the job's streams, those of a commit that was killed or goes on elsewhere among them."""
        if self.state.version == 0 and self.reaches is None:
            self._check_store()
        if self.reaches is None:
            job, known = self.changes.commit.job, self.state.of_job(self.changes.commit.job).entries
            self.reaches = self.state.reached(job, list(dict.fromkeys([*known, *sources])))
            if self.on.look_for_files:
                self.reaches = self._with_files_beyond(self.reaches)
        return self.reaches

    def _with_files_beyond(self, reaches: Mapping[Stream, Reach]) -> dict[Stream, Reach]:
        texts = {str(stream): stream for stream in reaches}
        topic_ids = self.changes.commit.topic_ids
        ahead: dict[Stream, list[Span]] = {stream: list(reach.ahead) for stream, reach in reaches.items()}
        for file in self.on.files.listed(self.changes.name, _since([reach.date for reach in reaches.values()])):
            stream = texts.get(file.stream)
            if stream is not None and file.first >= (reaches[stream].next or 0):
                ahead[stream].extend(self.on.files.spans(file, topic_ids.get(stream.topic)))
        return {stream: Reach(reach.next, tuple(ahead[stream]), reach.date) for stream, reach in reaches.items()}

    def _check_store(self) -> None:
        """Correctness relies on create-if-absent: a store without it is rejected at the start."""
        name = f"{folder_name(self.changes.name)}/{LEDGER}/probe"
        self.on.store.create(name, pa.py_buffer(b"{}"))
        if self.on.store.create(name, pa.py_buffer(b"{}")):
            raise TerminalSinkError(
                f"{self.on.store.place}: the store writes over an object though it was told not to (If-None-Match or "
                "ifGenerationMatch): a log there could lose or double changes, so nothing was written"
            )


def _since(dates: Sequence[str]) -> str:
    """A day before the earliest of the streams' last dates; empty for all dates. Times of records may step back."""
    if not dates or any(date in ("", NO_DATE_NAME) for date in dates):
        return ""
    return str(np.datetime64(min(dates)) - np.timedelta64(1, "D"))
