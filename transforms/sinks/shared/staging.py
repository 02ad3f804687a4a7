"""Staged rows: an Arrow file for each delta, where every worker of the job reaches it."""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa

from ....schemas.errors import TransientSinkError
from ....schemas.model.change import CHANGE_FIELDS, UNAVAILABLE, UNAVAILABLE_TYPE
from ....schemas.model.stored_format import KEY, STAGED_ROWS
from ....schemas.model.table import Table, conform
from ...stores import LEFT_BEHIND_SECONDS, file_name
from .. import Staged
from .staging_folders import StagingFolder
from .transient_errors import sink_error

OURS: Final = re.compile(r"(?P<seconds>\d{12})-[0-9a-f]{32}\.arrow")


@dataclass
class Staging:
    """Files stay until the sink that wrote or committed them is closed or commits again.

    So a commit whose answer was lost can be repeated. Files that a killed process left are removed after a day, and no
    others.
    """

    folder: StagingFolder
    _written: set[str] = field(default_factory=set)
    _taken: set[str] = field(default_factory=set)

    def put(self, table: Table, delta: pa.RecordBatch) -> Staged:
        """Write one file. Raises SinkError where it cannot be written; then there is none."""
        name = file_name("arrow")
        uri = self.folder.uri(name)
        try:
            self.folder.write(name, delta)
        except OSError as error:
            self._remove({uri})
            said = f"cannot stage rows of table {table.name} in {self.folder.place}: {error.strerror or error}"
            raise sink_error(said, error) from error
        self._written.add(uri)
        return Staged(table, uri, delta.num_rows)

    def read(self, staged: Sequence[Staged], columns: pa.Schema) -> pa.Table:
        """All staged rows with these columns and Millrace's. Raises TransientSinkError where a file is gone."""
        batches = [batch for part in staged for batch in self._batches(part)]
        schema = pa.schema([*columns, *CHANGE_FIELDS])
        if any(UNAVAILABLE in batch.schema.names for batch in batches):
            schema = schema.append(pa.field(UNAVAILABLE, UNAVAILABLE_TYPE))
        return pa.Table.from_batches([conform(batch, schema) for batch in batches], schema=schema)

    def _batches(self, part: Staged) -> list[pa.RecordBatch]:
        try:
            with pa.ipc.open_file(self.folder.open(part.uri)) as reader:
                STAGED_ROWS.check((reader.schema.metadata or {}).get(KEY.encode()), part.uri)
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
        limit = time.time() - LEFT_BEHIND_SECONDS
        named = {uri: OURS.fullmatch(uri.rpartition("/")[2]) for uri in self.folder.uris()}
        self._remove({uri for uri, ours in named.items() if ours is not None and int(ours["seconds"]) < limit})
        self.folder.close()

    def _remove(self, uris: set[str]) -> None:
        for uri in uris:
            self.folder.delete(uri)
        self._written -= uris
