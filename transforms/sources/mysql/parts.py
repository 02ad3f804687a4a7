"""The records of a block by schema: rows of a copy and events of rows as changes in the order of the log."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Final, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ....schemas.errors import SourceError
from ....schemas.model.block import Block
from ....schemas.model.position import pack
from ...mysql_protocol.packets import count_rows, fill_fields
from ..log_records import AT, KIND, LENGTH, OFFSET, SCHEMA, TIME, TransactionCounter, read_records
from ..rounds import ENDED
from .binlog.columns import struct_of
from .binlog.events import Events, Place
from .binlog.rows import DELETED, INSERTED, UPDATED, Image, Rows, find_rows
from .binlog.rows import UNAVAILABLE as LEFT_OUT
from .binlog.table_map import TableMap, table_map
from .log_tables import COPIED, EMPTIED, LOST, OF_MARIADB
from .offsets import INSIDE, POSITION_BITS, place_text
from .tables import COPIED_SCHEMA, CopiedSchema
from .text_columns import struct_of_texts

INNER_BITS: Final = 24
"""Bits of a position for the number of a change within its transaction, or its chunk of a copy."""

Whole = NDArray[np.int64]
Mask = NDArray[np.bool_]


class Structs(Protocol):
    """Gives the chosen rows as a struct of their columns."""

    def __call__(self, chosen: Whole, *, before: bool = False) -> pa.StructArray: ...


@dataclass(frozen=True, slots=True)
class Part:
    """n changes of one schema in order: arrays of n. `kind` is I, U or D.

    `left_out` are by column the rows whose value was not sent, `left_out_before` the same of the rows before.
    """

    kind: Whole
    offset: Whole
    time: Whole
    place: Whole
    key: tuple[str, ...]
    structs: Structs
    left_out: Mapping[str, Mask] = field(default_factory=dict)
    left_out_before: Mapping[str, Mask] = field(default_factory=dict)

    def position(self, chosen: Whole) -> pa.Array:
        """Where these changes stand in the source's order: the file's number, and position and number in one word.

        A copy is older than all of the log; its later chunks are newer.
        """
        offset = self.offset[chosen]
        inner = ((offset & INSIDE) << INNER_BITS) + self.place[chosen]
        return pack((offset >> POSITION_BITS).astype(np.uint64), inner.astype(np.uint64), offset)

    def letter_value(self, row: int, values: pa.StructScalar) -> bytes:
        """The values of the row as JSON by column."""
        return json.dumps(values.as_py(), default=str).encode()


@dataclass(frozen=True, slots=True)
class Emptied:
    """A statement that leaves no row; `position` is one."""

    offset: int
    time: int
    position: pa.Array


@dataclass(frozen=True, slots=True)
class CopyEnd:
    """A copy that is made anew by each run has all rows; it began at this offset."""

    begun: int


def parts(block: Block) -> Iterator[Part | Emptied | CopyEnd]:
    """What a block holds, in order. Raises SourceError for bytes that cannot be read, and for what the log lacks."""
    data, found = read_records(block.data)
    inside = (found[:, OFFSET] >= block.first) & (found[:, OFFSET] < block.stop) | (found[:, KIND] == SCHEMA)
    found = found[inside]
    stops = np.isin(found[:, KIND], (SCHEMA, EMPTIED, LOST, ENDED))
    edges = sorted({0, *np.flatnonzero(stops).tolist(), *(np.flatnonzero(stops) + 1).tolist(), len(found)})
    counting, schema = TransactionCounter(), b""
    for low, high in pairwise(edges):
        kind, at, size = (int(found[low, column]) for column in (KIND, AT, LENGTH))
        text = block.data[at : at + size]
        if kind == SCHEMA:
            schema = text
        elif kind == LOST:
            raise SourceError(
                f"the log does not say what became of its rows at {place_text(int(found[low, OFFSET]))}: "
                f"{text.decode()}; for a new copy, remove the table from the target and run again"
            )
        elif kind == ENDED:
            yield CopyEnd(int.from_bytes(text, "little"))
        elif kind == EMPTIED:
            yield _emptied(found[low], counting)
        elif kind == COPIED:
            for row in range(low, high):
                yield _copied(data, found[row], CopiedSchema.of_text(schema[len(COPIED_SCHEMA) :]), counting)
        else:
            yield _logged(data, found[low:high], schema, counting)


def _emptied(found: Whole, counting: TransactionCounter) -> Emptied:
    offset = found[OFFSET : OFFSET + 1]
    nothing = np.zeros(1, np.int64)
    part = Part(nothing, offset, nothing, counting.places(offset), (), _no_structs)
    return Emptied(int(found[OFFSET]), int(found[TIME]), part.position(nothing))


def _no_structs(chosen: Whole, *, before: bool = False) -> pa.StructArray:
    raise SourceError("a statement has no rows")


def _copied(data: NDArray[np.uint8], found: Whole, schema: CopiedSchema, counting: TransactionCounter) -> Part:
    rows = np.ascontiguousarray(data[found[AT] : found[AT] + found[LENGTH]])
    count, width = int(count_rows(rows)), len(schema.columns) + len(schema.key)
    at, size = np.empty((width, count), np.int64), np.empty((width, count), np.int64)
    if not fill_fields(rows, at, size):
        raise SourceError(f"a row of the copy has not the {len(schema.columns)} columns that were asked for")
    offset = np.full(count, found[OFFSET])
    structs = partial(_texts, rows, at, size, schema)
    kind, time = np.full(count, INSERTED), np.full(count, found[TIME])
    return Part(kind, offset, time, counting.places(offset), schema.key, structs)


def _texts(
    data: NDArray[np.uint8], at: Whole, size: Whole, schema: CopiedSchema, chosen: Whole, *, before: bool = False
) -> pa.StructArray:
    return struct_of_texts(data, at[:, chosen], size[:, chosen], schema.columns)


def _logged(data: NDArray[np.uint8], found: Whole, schema: bytes, counting: TransactionCounter) -> Part:
    table = table_map(schema[1:], mariadb=schema[:1] == OF_MARIADB)
    table.demand()
    head, stop = found[:, AT], found[:, AT] + found[:, LENGTH]
    kinds, nothing = data[head + 4].astype(np.int64), np.zeros(len(found), np.int64)
    times = np.ascontiguousarray(found[:, TIME])
    place = Place(place_text(int(found[0, OFFSET])), 0)
    events = Events(data, place, kinds, times, nothing, head + 19, stop, nothing, nothing)
    rows = find_rows(events, table)
    after = _filled(rows)
    offset = np.ascontiguousarray(found[rows.event, OFFSET])
    left_out = _left_out(after, rows.kind != DELETED, table)
    _refuse_defaults(rows, left_out, offset)
    before = _left_out(rows.before, rows.kind != INSERTED, table)
    key = tuple(table.columns[i].name or "" for i in table.key)
    structs = partial(_values, data, {False: after, True: rows.before}, table)
    return Part(rows.kind, offset, times[rows.event], counting.places(offset), key, structs, left_out, before)


def _left_out(image: Image, there: Mask, table: TableMap) -> dict[str, Mask]:
    absent = (image.size == LEFT_OUT) & there
    return {column.name or "": absent[i] for i, column in enumerate(table.columns) if absent[i].any()}


def _refuse_defaults(rows: Rows, left_out: Mapping[str, Mask], offset: Whole) -> None:
    """A value that an INSERT does not send is the column's default, of which the log says nothing."""
    for name, mask in left_out.items():
        inserted = np.flatnonzero(mask & (rows.kind == INSERTED))
        if len(inserted):
            raise SourceError(
                f"the row inserted at {place_text(int(offset[inserted[0]]))} lacks its value of {name}, which is the "
                "column's default: binlog_row_image leaves it out; SET GLOBAL binlog_row_image = 'FULL', and for a new "
                "copy remove the table from the target and run again"
            )


def _filled(rows: Rows) -> Image:
    """The rows after; what an update has not changed and not sent stands in the row before, where that was sent."""
    kept = (rows.after.size == LEFT_OUT) & (rows.before.size != LEFT_OUT) & (rows.kind == UPDATED)
    if not kept.any():
        return rows.after
    return Image(np.where(kept, rows.before.at, rows.after.at), np.where(kept, rows.before.size, rows.after.size))


def _values(
    data: NDArray[np.uint8], images: Mapping[bool, Image], table: TableMap, chosen: Whole, *, before: bool = False
) -> pa.StructArray:
    return struct_of(data, images[before], table, chosen)
