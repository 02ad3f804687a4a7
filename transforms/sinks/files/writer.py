"""The files of change logs in a store: written in order, each name given once, and read again."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ....schemas.errors import TerminalSinkError, TransientSinkError
from ....schemas.model.change import OP, SOURCE
from ....schemas.model.modes import OFFSET
from ...stores import Store
from ..shared.names import folder_name
from .avro import Avro
from .formats import Content, FileFormat, Parquet, decode, encode
from .ledger import Reach
from .names import FileName, Span, cuts, date_name, file_name, read_name
from .offset_runs import Run

FORMATS: Final[Mapping[str, FileFormat]] = {"parquet": Parquet(), "avro": Avro()}


@dataclass(frozen=True, slots=True)
class LogFiles:
    """Reads files of all formats, and writes those of one."""

    store: Store
    format: FileFormat

    def listed(self, table: str, since: str = "") -> list[FileName]:
        """The table's files from a date on."""
        folder = folder_name(table)
        names = self.store.names(folder, f"{folder}/date={since}" if since else "")
        return [file for file in map(read_name, names) if file is not None]

    def write(self, table: str, run: Run, reach: Reach, topic_id: int | None) -> Reach:
        """Put the changes at and beyond `reach` that no file holds into files, in order.

        Where a name is taken, another commit got as far, and did not move the ledger, or not yet: its file is taken
        over for the changes that it holds. Those that it lacks (it may have met messages that could not be decoded
        then) go into files of their own.
        """
        held, date = [(0, reach.next or 0), *reach.ahead], reach.date
        columns = [name for name in run.rows.column_names if name not in (OP, SOURCE)]
        while True:
            for low, high in cuts(run.offsets, run.days, held):
                date, first = date_name(run.days[low]), int(run.offsets[low])
                name = file_name(table, run.stream, date, first, self.format.ending)
                data = encode(self.format, run.rows.slice(low, high - low).select(columns), topic_id)
                if not self.store.create(name, data):
                    held.extend(self.spans(FileName(name, date, str(run.stream), first), topic_id))
                    break
                held.append((first, int(run.offsets[high - 1]) + 1))
            else:
                return Reach(reach.next, tuple(held[1:]), date)

    def spans(self, file: FileName, topic_id: int | None) -> list[Span]:
        """The offsets of a file's changes, as spans without holes, in order.

        Raises TerminalSinkError where the file is of an older topic of the same name.
        """
        content = self.read(file)
        if topic_id is not None and content.topic_id not in (None, topic_id):
            raise TerminalSinkError(
                f"{self.place(file)} is a log of another topic of that name, which was deleted since; "
                "write to a new table"
            )
        offsets = np.asarray(content.rows.column(OFFSET))
        borders = np.flatnonzero(np.diff(offsets) > 1) + 1
        firsts = offsets[np.concatenate(([0], borders))]
        lasts = offsets[np.concatenate((borders, [len(offsets)])) - 1]
        return [(int(first), int(last) + 1) for first, last in zip(firsts, lasts, strict=True)]

    def read(self, file: FileName) -> Content:
        """All of a file."""
        data = self.store.read(file.name)
        if data is None:
            raise TransientSinkError(f"{self.place(file)} is gone while it was to be read; run the job again")
        return decode(FORMATS[file.name.rpartition(".")[2]], data, self.place(file))

    def below(self, file: FileName, stop: int, seen: NDArray[np.int64]) -> tuple[pa.Table, NDArray[np.int64]]:
        """The changes of a file at offsets below `stop` that are not in `seen`, and all offsets of the file."""
        rows = self.read(file).rows
        offsets = np.asarray(rows.column(OFFSET))
        fresh = offsets < stop
        if len(seen):
            fresh &= ~np.isin(offsets, seen)
        return rows.filter(pa.array(fresh)), offsets

    def place(self, file: FileName) -> str:
        """Where a person finds it."""
        return f"{self.store.place}/{file.name}"
