"""A decoder for one writer schema: compiled once, then run over batches of payloads."""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...model.value_texts import text_field
from ..columns.arrays import build
from ..columns.jit import frozen
from ..columns.layout import starts
from ..columns.slots import Column, Slots
from ..encoding import PRIMITIVE_KEY
from . import interpreter
from .bytecode import ExpectedField, Linked, link
from .compiler import Compiler, Keep
from .payload_errors import CODE_BITS, sentence
from .schema_types import Schema, parse_schema


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """`array` has a row for each payload, null where `errors` (int32) is not 0."""

    array: pa.Array
    errors: NDArray[np.int32]
    _details: NDArray[np.int64] = field(repr=False)
    _places: tuple[ExpectedField, ...] = field(repr=False)

    def message(self, row: int) -> str:
        """What is wrong with the payload of a row whose error is not 0, in one sentence."""
        step, code = divmod(int(self.errors[row]), 1 << CODE_BITS)
        return sentence(code, self._places[step], int(self._details[row]))


class AvroDecoder:
    """Decodes payloads of one writer schema; made by `compile_decoder`, safe to use from many threads.

    `arrow_type` is the type of the datum; `schema` the fields of a record at the top, else the same type. Fields are
    all nullable, and carry `connect.name` as metadata.
    """

    def __init__(self, column: Column, linked: Linked, places: tuple[ExpectedField, ...]) -> None:
        self.arrow_type: pa.DataType = column.arrow
        is_record = pa.types.is_struct(column.arrow)
        self.schema: pa.Schema | pa.DataType = pa.schema(list(column.arrow)) if is_record else column.arrow
        self._column, self._linked, self._places = column, linked, places

    def decode(self, data: NDArray[np.uint8], at: NDArray[np.int64], length: NDArray[np.int64]) -> Decoded:
        """Decode `data[at[i] : at[i] + length[i]]` as row i; every payload is read to its last byte.

        The array may share one buffer among its columns, never with `data`. Raises SchemaError where a column would
        hold more than 2 GiB.
        """
        data, at, length = frozen(data, np.uint8), frozen(at, np.int64), frozen(length, np.int64)
        errors, details = np.zeros(len(at), np.int32), np.zeros(len(at), np.int64)
        # Rows by level. Only a first run can tell how many items there are; without arrays it is not needed.
        rows = np.zeros(self._linked.levels, np.int64)
        if self._linked.levels > 1:
            counted = interpreter.new_state(np.empty(0, np.int64), np.empty(0, np.uint8), self._linked.levels)
            interpreter.walk(data, at, length, self._linked.counting, counted, errors, details)
            rows[:] = counted.rows
        rows[0] = len(at)
        slots = self._written(data, at, length, (rows, errors, details))
        array = build(self._column, slots)
        texts = slots.texts.get(id(self._column))
        if texts is not None:
            fields = [pa.field(PRIMITIVE_KEY, array.type), text_field(PRIMITIVE_KEY)]
            array = pa.StructArray.from_arrays([array, texts], fields=fields)
        return Decoded(array, errors, details, self._places)

    def _written(
        self,
        data: NDArray[np.uint8],
        at: NDArray[np.int64],
        length: NDArray[np.int64],
        known: tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]],
    ) -> Slots:
        rows, errors, details = known
        value_at, size = starts(rows[self._linked.slot_levels])
        valid_at, marks = starts(rows[self._linked.valid_levels])
        values, valid = np.zeros(size, np.int64), np.zeros(marks, np.uint8)
        state = interpreter.new_state(values, valid, self._linked.levels)
        interpreter.walk(data, at, length, self._linked.placed(value_at, valid_at, rows), state, errors, details)
        slots = Slots(data, values, valid, value_at, valid_at, rows, errors == 0)
        if not slots.good.all():
            _blank(slots, self._linked)
        return slots


def _blank(slots: Slots, linked: Linked) -> None:
    """Undo what was written for payloads that failed."""
    bad = np.flatnonzero(~slots.good)
    for start in slots.value_at[linked.slot_levels == 0]:
        slots.values[start + bad] = 0
    for start in slots.valid_at[linked.valid_levels == 0]:
        slots.valid[start + bad] = 0


def compile_decoder(schema: Schema, keep: Keep | None = None) -> AvroDecoder:
    """The decoder for a writer schema, given as parsed JSON; raises SchemaError for one that cannot be decoded.

    `keep` is asked once for each field path, outermost first, such as `("after", "id")`: a field that it refuses, with
    all below it, is read and checked but absent from the Arrow type. Inside arrays, maps and unions of several types
    everything is kept. Types: see `logical_types`. Unions are as in Spark: `int` and `long` are one int64, others a
    struct of `member0`, `member1`, ... A field whose type leads back to an enclosing record is JSON text.
    """
    compiler = Compiler(parse_schema(schema), keep)
    program = compiler.program
    return AvroDecoder(compiler.column, link(program), tuple(program.places))
