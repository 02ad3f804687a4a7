"""The bytecode that a schema is compiled to: rows of 8 int64, which `interpreter.walk` runs over each payload.

    OP      the operation, one of those below
    SLOT    where the value is written, VALID where its validity is: NONE writes nothing
    JUMP    the row to go on at
    LEVEL   of NEXT: the level of its items
    A, B    arguments of the operation
    STRIDE  the distance between two slots of one value

Slots and levels are those of `columns.layout`.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...errors import SchemaError
from ..columns.layout import BYTES, NONE, STRING, Layout

OP: Final = 0
SLOT: Final = 1
VALID: Final = 2
JUMP: Final = 3
LEVEL: Final = 4
A: Final = 5
B: Final = 6
STRIDE: Final = 7

# Beside the operations of `columns.layout`, which read one value: INTEGER between A and B, BYTES of at most A, FIXED of
# A, DECIMAL of A bytes and B digits.
NULLABLE: Final = 3
"""A union of null (branch A; jump) and one other type."""
UNION: Final = 10
"""A union of A branches: the next A rows are jumps to them."""
MARK: Final = 11
"""Sets validity."""
GOTO: Final = 12
REPEAT: Final = 13
"""An array or map begins; the next row is its NEXT."""
NEXT: Final = 14
"""The next item, or the jump. A: an item has no bytes; B: the cells that an item takes."""
CALL: Final = 15
RETURN: Final = 16
OPEN: Final = 17
"""The first byte of a span that is decoded later."""
CLOSE: Final = 18
END: Final = 19

MAX_ROWS: Final = 2_000_000


@dataclass(frozen=True, slots=True)
class ExpectedField:
    """What a row of the program reads, for error messages: the field's path, and what was expected there."""

    path: tuple[str, ...]
    what: str

    def __str__(self) -> str:
        return f"field {'.'.join(self.path)}" if self.path else "the datum"


@dataclass(slots=True)
class Program(Layout):
    """A program while it is built, with the layout of what it writes; `link` makes of it what the interpreter runs."""

    rows: list[list[int]] = field(default_factory=list)
    places: list[ExpectedField] = field(default_factory=list)

    def add(self, op: int, place: ExpectedField, slot: int = NONE, valid: int = NONE, a: int = 0, b: int = 0) -> int:
        """Append a row; its number."""
        if len(self.rows) >= MAX_ROWS:
            raise SchemaError(f"the schema takes more than {MAX_ROWS} steps to decode")
        self.rows.append([op, slot, valid, 0, NONE, a, b, 0])
        self.places.append(place)
        return len(self.rows) - 1

    def here(self) -> int:
        """The number of the next row."""
        return len(self.rows)

    def land(self, row: int) -> None:
        """Let `row` jump to the row that is added next."""
        self.rows[row][JUMP] = self.here()


@dataclass(frozen=True, slots=True, eq=False)
class Linked:
    """A finished program as arrays of shape (rows, 8), run twice over the same payloads.

    `counting` writes nothing and counts the rows of each level. `writing` names slots by number; once the counts are
    known, `placed` puts their places in memory there.
    """

    writing: NDArray[np.int64]
    counting: NDArray[np.int64]
    slot_levels: NDArray[np.int64]
    valid_levels: NDArray[np.int64]
    levels: int

    def placed(
        self, slot_at: NDArray[np.int64], valid_at: NDArray[np.int64], rows: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """`writing` with SLOT and VALID as indices into values and validity, and STRIDE as the rows of the level.

        `slot_at` and `valid_at` are where each slot begins, `rows` the rows of each level.
        """
        program = self.writing.copy()
        slotted = np.flatnonzero(program[:, SLOT] >= 0)
        slots = program[slotted, SLOT]
        program[slotted, SLOT] = slot_at[slots]
        program[slotted, STRIDE] = rows[self.slot_levels[slots]]
        marked = np.flatnonzero(program[:, VALID] >= 0)
        program[marked, VALID] = valid_at[program[marked, VALID]]
        return program


def link(program: Program) -> Linked:
    """Freeze a program."""
    writing = np.array(program.rows, np.int64)
    counting = writing.copy()
    counting[:, [SLOT, VALID]] = NONE
    # With levels there was a counting run before, which has checked all UTF-8: it is not checked again.
    if program.levels > 1:
        text = writing[:, OP] == STRING
        writing[text, OP] = BYTES
        writing[text, A] = np.iinfo(np.int64).max
    slot_levels = np.array(program.slot_levels, np.int64)
    return Linked(writing, counting, slot_levels, np.array(program.valid_levels, np.int64), program.levels)
