"""Staged rows of a change log: Arrow files in the store itself, so that every worker reaches them."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import pyarrow as pa

from ....schemas.errors import SinkError, TransientSinkError
from ....schemas.model.change import CHANGE_FIELDS
from ....schemas.model.table import Table, conform
from ...stores import Store, staging_name, sweep
from .. import Staged


@dataclass
class StagedRows:
    """Objects stay until the next commit or `close`, so that a commit can be repeated; a killed one's for a day."""

    store: Store
    _written: set[str] = field(default_factory=set)
    _taken: set[str] = field(default_factory=set)

    def put(self, table: Table, delta: pa.RecordBatch) -> Staged:
        """Write one object."""
        name, room = staging_name("arrow"), pa.allocate_buffer(_size(delta))
        with pa.FixedSizeBufferWriter(room) as out:
            with pa.ipc.new_file(out, delta.schema) as writer:
                writer.write_batch(delta)
            end = out.tell()
        self._written.add(name)
        self.store.create(name, room.slice(0, end))
        return Staged(table, name, delta.num_rows)

    def read(self, staged: Sequence[Staged], columns: pa.Schema) -> pa.Table:
        """All rows with these columns and those of a change. Raises TransientSinkError where an object is gone."""
        schema = pa.schema([*columns, *CHANGE_FIELDS])
        batches = [conform(batch, schema) for part in staged for batch in self._batches(part)]
        return pa.Table.from_batches(batches, schema=schema)

    def _batches(self, part: Staged) -> list[pa.RecordBatch]:
        data = self.store.read(part.uri)
        if data is None:
            raise TransientSinkError(
                f"the staged rows of table {part.table.name} are gone from {self.store.place}/{part.uri}; "
                "run the job again"
            )
        with pa.ipc.open_file(data) as reader:
            return [reader.get_batch(number) for number in range(reader.num_record_batches)]

    def taken(self, staged: Sequence[Staged]) -> None:
        """These are committed; those of the commit before are removed."""
        now = {part.uri for part in staged}
        self._remove(self._taken - now)
        self._taken = now

    def close(self) -> None:
        """Remove what was staged or taken here, and what others left more than a day ago."""
        self._remove(self._written | self._taken)
        self._taken = set()
        sweep(self.store)

    def _remove(self, names: set[str]) -> None:
        with suppress(SinkError):
            for name in names:
                self.store.delete(name)
        self._written -= names


def _size(delta: pa.RecordBatch) -> int:
    """Room for the batch as a file: the batch, and its schema before and behind it."""
    return int(pa.ipc.get_record_batch_size(delta)) + 2 * len(delta.schema.serialize()) + (1 << 12)
