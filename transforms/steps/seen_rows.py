"""Rows of a target that no message of a stretch of the log has written."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ...schemas.envelopes.decoded import Decoded
from ...schemas.model.change import DELETE, OP, POSITION, UPSERT
from ...schemas.model.change_batch import ChangeColumns, change_batch
from ...schemas.model.modes import DELETED, IS_CURRENT, VERSION, Mode
from ...schemas.model.position import from_hexadecimal, pack_words, unpack
from ...schemas.model.route import Route
from ...schemas.model.spelling import respelled_names
from ...schemas.model.table import cast, grow
from ..sinks import Sink
from ..sinks.shared.key_index import KeyIndex
from ..sinks.shared.lookup import columns_of

OFFSET: Final = "_millrace_offset"
WROTE: Final = "_millrace_wrote"
LATER: Final = "_millrace_later"

Mask = NDArray[np.bool_]
Words = NDArray[np.uint64]


@dataclass(slots=True)
class SeenRows:
    """The changes that messages have made: key and offset, which wrote a row, and which stand behind a snapshot."""

    table: str
    key: tuple[str, ...] = ()
    parts: list[pa.RecordBatch] = field(default_factory=list)

    def add(self, done: Decoded, stop: int) -> None:
        """The changes of a block; those from offset `stop` on stand behind the snapshot."""
        self.key = self.key or done.key
        for changes in done.changes:
            wrote = np.asarray(changes.column(OP)) == UPSERT
            offsets = unpack(changes.column(POSITION))[:, 3].astype(np.int64)
            own = [pa.array(offsets), pa.array(wrote), pa.array(offsets >= stop)]
            columns = [changes.column(name) for name in respelled_names(self.key, changes.schema.names)]
            self.parts.append(pa.RecordBatch.from_arrays([*columns, *own], [*self.key, OFFSET, WROTE, LATER]))

    def index(self, held: pa.Schema) -> "SeenIndex | None":
        """By which a target with these columns finds the rows; None where there are none."""
        if not self.parts:
            return None
        key = respelled_names(self.key, held.names)
        kinds = pa.schema([(name, held.field(name).type) for name in key])
        schemas = [pa.schema([(one, part.schema.field(i).type) for i, one in enumerate(key)]) for part in self.parts]
        for schema in schemas:
            kinds = grow(self.table, kinds, schema)
        columns = [_column(self.parts, number, kinds.field(number).type) for number in range(len(key))]
        offsets = _column(self.parts, len(key), pa.int64())
        wrote, later = (
            np.concatenate([np.asarray(part.column(name)) for part in self.parts]) for name in (WROTE, LATER)
        )
        return SeenIndex(kinds, KeyIndex([*columns, offsets]), wrote, later)


def _column(parts: Sequence[pa.RecordBatch], number: int, kind: pa.DataType) -> pa.ChunkedArray:
    return pa.chunked_array([cast(part.column(number), kind) for part in parts], kind)


@dataclass(frozen=True, slots=True)
class SeenIndex:
    """The keys' types as target and messages share them, an index by key and offset, and which changes are which."""

    key: pa.Schema
    places: KeyIndex
    wrote: Mask
    later: Mask

    def find(self, batch: pa.RecordBatch, words: Words) -> tuple[Mask, Mask]:
        """By row of the target: whether a message of its key and offset wrote it, and whether there is a later one."""
        columns = [cast(batch.column(field.name), field.type) for field in self.key]
        found, rows = self.places.find([*columns, pa.array(words[:, 3].astype(np.int64))])
        seen, later = np.zeros(batch.num_rows, np.bool_), np.zeros(batch.num_rows, np.bool_)
        seen[rows], later[rows] = self.wrote[found], self.later[found]
        return seen, later


def old_rows(sink: Sink, route: Route, seen: SeenRows, ended: int) -> Iterator[Decoded]:
    """Deletes, at the log's time `ended`, of the target's rows that none of the messages has written.

    Each is one step behind the change that wrote the row. A version (scd2) that a message behind the snapshot ended is
    ended by the snapshot, which did not have its row.
    """
    held = columns_of(sink, route.table)
    index = None if held is None else seen.index(held)
    if held is None or index is None:
        return
    marks = {Mode.SOFT_DELETE: [DELETED], Mode.SCD2: [DELETED, IS_CURRENT, VERSION]}.get(route.mode, [])
    for batch in sink.scan(route.table, [*index.key.names, *marks, POSITION]):
        at = batch.column(POSITION) if route.mode is not Mode.SCD2 else None
        words = from_hexadecimal(batch.column(VERSION)) if at is None else unpack(at)
        old = ~index.find(batch, words)[0]
        if route.mode is not Mode.MIRROR:
            old &= ~np.asarray(pc.fill_null(batch.column(DELETED), False))
        if route.mode is Mode.SCD2:
            ended_later = index.find(batch, ~unpack(batch.column(POSITION)))[1]
            old &= np.asarray(pc.fill_null(batch.column(IS_CURRENT), False)) | ended_later
        if old.any():
            yield _deletes(route, batch.select(index.key.names).filter(pa.array(old)), words[old], ended)


def _deletes(route: Route, rows: pa.RecordBatch, words: Words, ended: int) -> Decoded:
    words = words.copy()
    # No other change has this place: the message at the next offset is of another key, or is not old.
    words[:, 3] += np.uint64(1)
    marks = ChangeColumns(
        op=np.full(rows.num_rows, DELETE, np.int8),
        position=pack_words(words),
        source=-1,
        time=np.full(rows.num_rows, ended, np.int64),
    )
    columns = {name: rows.column(name) for name in rows.schema.names}
    return Decoded(route.topics[0], 0, 0, 0, tuple(rows.schema.names), [change_batch(columns, marks)])
