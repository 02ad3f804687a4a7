"""What a loop wrote, and the columns that are to be built of it."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .layout import NONE, ROOT
from .logical_types import Form


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """How to build one Arrow array: form and type, first slot, slot of its validity, level and child columns.

    It has as many rows as its level. `scale` is that of a decimal that becomes text; with `own_scale` each value has
    its own in a third slot. `as_json` makes JSON of so many bytes at a place of the data, None where the value is null.
    `symbols` are those of an enum, `size` the bytes of a decimal in a fixed, -1 where its length stands before it.
    `make` builds what only one encoding has.
    """

    form: Form
    arrow: pa.DataType
    slot: int
    valid: int
    level: int
    children: tuple["Column", ...] = ()
    scale: int = 0
    own_scale: bool = False
    as_json: Callable[[memoryview, int, int], str | None] | None = None
    symbols: pa.Array | None = None
    size: int = -1
    make: Callable[["Column", "Slots"], pa.Array] | None = None


@dataclass(slots=True, eq=False)
class Slots:
    """What a loop wrote: slot s is `values[value_at[s]:]`, an int64 for each of the `rows[level]` rows.

    `valid` (uint8, 1 is valid) is laid out the same way by `valid_at`. `data` are the payloads' bytes, to which slots
    of text and bytes point by position and length. `good`: by payload, whether it could be decoded. `packed` are
    validity bitmaps that were made already. `texts`: by number (`id`) of a column that was built, the texts of values
    that its type has not, where there are any.
    """

    data: NDArray[np.uint8]
    values: NDArray[np.int64]
    valid: NDArray[np.uint8]
    value_at: NDArray[np.int64]
    valid_at: NDArray[np.int64]
    rows: NDArray[np.int64]
    good: NDArray[np.bool_]
    packed: dict[int, pa.Buffer | None] = field(default_factory=dict)
    texts: dict[int, pa.Array] = field(default_factory=dict)

    def slot(self, column: Column, number: int = 0) -> NDArray[np.int64]:
        """The numbers in one of the column's slots."""
        start = self.value_at[column.slot + number]
        return self.values[start : start + self.count(column)]

    def count(self, column: Column) -> int:
        """How many rows the column has."""
        return int(self.rows[column.level])

    def validity(self, column: Column) -> pa.Buffer | None:
        """The column's validity, packed; None where all is valid."""
        if column.valid == NONE:
            return None
        if column.valid not in self.packed:
            if column.valid == ROOT:
                marks: NDArray[np.bool_] | NDArray[np.uint8] = self.good
            else:
                start = self.valid_at[column.valid]
                marks = self.valid[start : start + self.count(column)]
            self.packed[column.valid] = None if marks.all() else packed_bits(marks)
        return self.packed[column.valid]


def packed_bits(marks: NDArray[np.bool_] | NDArray[np.uint8]) -> pa.Buffer:
    """Marks as Arrow's bitmap."""
    return pa.py_buffer(np.packbits(marks, bitorder="little"))
