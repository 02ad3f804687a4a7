"""A decoder for one message: compiled once, then run over batches of payloads."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from google.protobuf.descriptor import Descriptor
from numpy.typing import NDArray

from ..columns.arrays import build
from ..columns.jit import frozen
from ..columns.layout import starts
from ..columns.slots import Column, Slots
from ..encoding import Keep
from . import loop
from .compiler import Compiler
from .payload_errors import sentence
from .program import Tables, link
from .state import new_state


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """`array` has a row for each payload, null where `errors` (int32) is not 0."""

    array: pa.Array
    errors: NDArray[np.int32]
    _details: NDArray[np.int64] = field(repr=False)
    _places: tuple[tuple[str, ...], ...] = field(repr=False)

    def message(self, row: int) -> str:
        """What is wrong with the payload of a row whose error is not 0, in one sentence."""
        detail, at = self._details[row].tolist()
        return sentence(int(self.errors[row]), self._places[at] if at >= 0 else (), detail)


class ProtobufDecoder:
    """Decodes payloads of one message; safe to use from many threads. `arrow_type` is the type of a row."""

    def __init__(self, column: Column, tables: Tables, places: tuple[tuple[str, ...], ...]) -> None:
        self.arrow_type: pa.DataType = column.arrow
        self._column, self._tables, self._places = column, tables, places

    def decode(self, data: NDArray[Any], at: NDArray[Any], length: NDArray[Any]) -> Decoded:
        """Decode `data[at[i] : at[i] + length[i]]` as row i; every payload is read to its last byte.

        Raises SchemaError where a column would hold more than 2 GiB.
        """
        data, at, length = frozen(data, np.uint8), frozen(at, np.int64), frozen(length, np.int64)
        tables, errors, details = self._tables, np.zeros(len(at), np.int32), np.zeros((len(at), 2), np.int64)
        rows = np.zeros(tables.levels, np.int64)
        # Only a first run can tell how many items there are; without repeated fields it is not needed.
        if tables.levels > 1:
            counted = new_state(np.empty(0, np.int64), np.empty(0, np.uint8), tables)
            loop.walk(data, at, length, (tables.counting, tables.messages, tables.finder), counted, errors, details)
            rows[:] = counted.rows
        rows[0] = len(at)
        value_at, size = starts(rows[tables.slot_levels])
        valid_at, marks = starts(rows[tables.valid_levels])
        state = new_state(np.zeros(size, np.int64), np.zeros(marks, np.uint8), tables)
        placed = tables.placed(value_at, valid_at, rows)
        loop.walk(data, at, length, (placed, tables.messages, tables.finder), state, errors, details)
        slots = Slots(data, state.values, state.valid, value_at, valid_at, rows, errors == 0)
        if not slots.good.all():
            _blank(slots, tables)
        return Decoded(build(self._column, slots), errors, details, self._places)


def _blank(slots: Slots, tables: Tables) -> None:
    """Undo what was written for payloads that failed."""
    bad = np.flatnonzero(~slots.good)
    for start in slots.value_at[tables.slot_levels == 0]:
        slots.values[start + bad] = 0
    for start in slots.valid_at[tables.valid_levels == 0]:
        slots.valid[start + bad] = 0


def compile_decoder(message: Descriptor, keep: Keep | None = None) -> ProtobufDecoder:
    """The decoder for a message; raises SchemaError for one that cannot be decoded.

    `keep` is asked once for each field path, outermost first: a field that it refuses, with all below it, is checked
    but absent from the columns. Below repeated fields everything is kept. Types: see `columns`. A field whose message
    is one of those around it is JSON text, and so are messages without fields; a map whose keys are no texts is a list
    of entries.
    """
    compiler = Compiler(message, keep)
    return ProtobufDecoder(compiler.column, link(compiler.program), tuple(compiler.program.places))
