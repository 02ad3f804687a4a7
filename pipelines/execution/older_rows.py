"""Rows of the live table that rest on messages which the topic holds no more, beside a table that was built without."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ...schemas.errors import TableError
from ...schemas.model.change import CHANGE_FIELDS, POSITION, UPSERT
from ...schemas.model.ledger import Commit
from ...schemas.model.table import Table
from ...transforms.sinks import Sink
from ...transforms.sinks.shared.drift import inspect
from ...transforms.sinks.shared.key_index import KeyIndex
from ...transforms.sinks.shared.lookup import columns_of, find_rows

NO_SOURCE = -1
"""The number of the source of rows that no account counts."""


@dataclass(frozen=True, slots=True)
class OlderRows:
    """The rows of `table` whose key `beside` does not have; both are in the sink."""

    sink: Sink
    table: str
    beside: str

    def carry(self, job: str) -> int:
        """Bring them into the table beside, in one commit; how many there were to bring.

        The guard leaves out those that the messages which are left delete. Raises TableError, SinkError.
        """
        known = inspect(self.sink, self.beside).table
        held = columns_of(self.sink, self.table)
        if known is None or held is None:
            return 0
        staged = []
        for batch in self._missing(known, held):
            target = Table(self.beside, known.key, pa.schema(list(batch.schema)[:-1]))
            staged.append(self.sink.stage(target, _as_changes(batch)))
        if staged:
            self.sink.commit(Table(self.beside, known.key, held), staged, Commit(job, ()))
        return sum(part.rows for part in staged)

    def check_values(self) -> None:
        """Raise TableError where a row beside lacks a value that the live one has at the very same change.

        The source did not send it with that change, and what it had sent before is gone.
        """
        known = inspect(self.sink, self.beside).table
        held = columns_of(self.sink, self.table)
        if known is None or held is None:
            return
        names = [name for name in held.names if name in known.columns.names and name not in known.key]
        lost = 0
        for batch in self.sink.scan(self.table, [*held.names, POSITION]):
            found, mine, theirs = self._pairs(known, batch, [*names, POSITION])
            at, there = batch.take(pa.array(theirs)), found.take(pa.array(mine))
            same = np.asarray(pc.equal(_bytes(at.column(POSITION)), _bytes(there.column(POSITION).combine_chunks())))
            for name in names:
                gone = np.asarray(there.column(name).combine_chunks().is_null()) & np.asarray(
                    at.column(name).is_valid()
                )
                lost += int((gone & same).sum())
        if lost:
            raise TableError(
                f"table {self.table}: {lost:,} values that its rows have were sent in messages that the topic holds no "
                "more, and not again since; a table that is built without them would have NULL there. Nothing was "
                "swapped; --drop-older lets them go"
            )

    def _missing(self, known: Table, held: pa.Schema) -> Iterator[pa.RecordBatch]:
        for batch in self.sink.scan(self.table, [*held.names, POSITION]):
            _, _, there = self._pairs(known, batch, [POSITION])
            missing = np.ones(batch.num_rows, np.bool_)
            missing[there] = False
            if missing.any():
                yield batch.filter(pa.array(missing))

    def _pairs(
        self, known: Table, batch: pa.RecordBatch, names: list[str]
    ) -> tuple[pa.Table, NDArray[np.int64], NDArray[np.int64]]:
        """The rows beside that have keys of the batch, and the pairs of equal keys: rows there, rows of the batch."""
        absent = [name for name in known.key if name not in batch.schema.names]
        if absent:
            raise TableError(f"table {self.table}: its rows have no key column {absent[0]!r}, so they cannot be kept")
        keys = pa.table({name: batch.column(name) for name in known.key})
        found = find_rows(self.sink, self.beside, keys, list(dict.fromkeys([*known.key, *names])))
        wide = [found.schema.field(name).type for name in known.key]
        index = KeyIndex([found.column(name) for name in known.key])
        return found, *index.find([batch.column(name).cast(kind) for name, kind in zip(known.key, wide, strict=True)])


def _bytes(positions: pa.Array) -> pa.Array:
    """Not every kernel takes binary of a fixed size."""
    return positions.cast(pa.binary())


def _as_changes(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The rows, whose last column is the position, as upserts that no account counts."""
    rows, count = batch.columns[:-1], batch.num_rows
    op, at, source = CHANGE_FIELDS
    own = [
        pa.array(np.full(count, UPSERT), op.type),
        batch.column(POSITION).cast(at.type),
        pa.array(np.full(count, NO_SOURCE), source.type),
    ]
    return pa.RecordBatch.from_arrays([*rows, *own], schema=pa.schema([*list(batch.schema)[:-1], *CHANGE_FIELDS]))
