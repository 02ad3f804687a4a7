"""Staged deltas: Arrow IPC files in a folder that every worker reaches."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

import pyarrow as pa
import pyarrow.fs as pafs

from ....schemas.errors import TerminalSinkError, TransientSinkError
from ....schemas.model.change import CHANGE_FIELDS, UNAVAILABLE, UNAVAILABLE_TYPE
from ....schemas.model.table import Table, conform
from .. import Staged

LEFT_BEHIND: Final = timedelta(days=1)


@dataclass
class Staging:
    """A folder of a file system. Files stay until the sink that wrote or committed them is closed or commits again.

    So a commit whose answer was lost can be repeated. Files that a killed process left are removed after a day.
    """

    files: pafs.FileSystem
    folder: str
    place: str = ""
    """How errors name the folder, where that is not its name among `files`."""
    _written: set[str] = field(default_factory=set)
    _taken: set[str] = field(default_factory=set)

    def put(self, table: Table, delta: pa.RecordBatch) -> Staged:
        """Write one file. Raises TerminalSinkError where it cannot be written; then there is none."""
        path = f"{self.folder}/{uuid.uuid4().hex}.arrow"
        try:
            if not self._written:
                self.files.create_dir(self.folder)
            self._written.add(path)
            with self.files.open_output_stream(path) as out, pa.ipc.new_file(out, delta.schema) as writer:
                writer.write_batch(delta)
        except OSError as error:
            self._remove({path})
            raise TerminalSinkError(
                f"cannot stage rows of table {table.name} in {self.place or self.folder}: {error}"
            ) from error
        return Staged(table, path, delta.num_rows)

    def read(self, staged: Sequence[Staged], columns: pa.Schema) -> pa.Table:
        """All staged rows with these columns and Millrace's. Raises TransientSinkError where a file is gone."""
        batches = [batch for part in staged for batch in self._batches(part)]
        schema = pa.schema([*columns, *CHANGE_FIELDS])
        if any(UNAVAILABLE in batch.schema.names for batch in batches):
            schema = schema.append(pa.field(UNAVAILABLE, UNAVAILABLE_TYPE))
        return pa.Table.from_batches([conform(batch, schema) for batch in batches], schema=schema)

    def _batches(self, part: Staged) -> list[pa.RecordBatch]:
        try:
            with pa.ipc.open_file(self.files.open_input_file(part.uri)) as reader:
                return [reader.get_batch(number) for number in range(reader.num_record_batches)]
        except OSError as error:
            raise TransientSinkError(
                f"the staged rows of table {part.table.name} in {part.uri} cannot be read ({error}); run the job again"
            ) from error

    def taken(self, staged: Sequence[Staged]) -> None:
        """These rows are committed; those of the commit before are removed."""
        now = {part.uri for part in staged}
        self._remove(self._taken - now)
        self._taken = now

    def close(self) -> None:
        """Remove what was staged or taken here, and what others left more than a day ago."""
        self._remove(self._written | self._taken)
        self._taken = set()
        limit = datetime.now(UTC) - LEFT_BEHIND
        try:
            found = self.files.get_file_info(pafs.FileSelector(self.folder, allow_not_found=True))
            self._remove({info.path for info in found if info.mtime is not None and info.mtime < limit})
            if self.files.type_name == "local" and not self.files.get_file_info(pafs.FileSelector(self.folder)):
                self.files.delete_dir(self.folder)
        except OSError:
            return

    def _remove(self, paths: set[str]) -> None:
        for path in paths:
            try:
                self.files.delete_file(path)
            except OSError:
                continue
        self._written -= paths
