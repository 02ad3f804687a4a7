"""The bytecode that a schema is compiled to: rows of 8 int64, which `interpreter.walk` runs over each payload.

    OP      the operation, one of those below
    SLOT    where the value is written, VALID where its validity is: NONE writes nothing
    JUMP    the row to go on at
    LEVEL   of NEXT: the level of its items
    A, B    arguments of the operation
    STRIDE  the distance between two slots of one value

A slot is a column to be: one int64 for each row of its level, in one large array with all others; validity has slots
of uint8. Level 0 has a row for each payload. Each array or map that is kept adds a level with a row for each item, of
all payloads together.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...errors import SchemaError

OP: Final = 0
SLOT: Final = 1
VALID: Final = 2
JUMP: Final = 3
LEVEL: Final = 4
A: Final = 5
B: Final = 6
STRIDE: Final = 7

INTEGER: Final = 0
"""A varint between A and B."""
STRING: Final = 1
"""Bytes of UTF-8; position and length go to two slots."""
BYTES: Final = 2
"""At most A bytes."""
NULLABLE: Final = 3
"""A union of null (branch A; jump) and one other type."""
BOOLEAN: Final = 4
FLOAT: Final = 5
DOUBLE: Final = 6
FIXED: Final = 7
"""A bytes."""
DECIMAL: Final = 8
"""Two's complement of A bytes, or of a length of its own where A is negative; B digits, as 2 or 4 slots."""
ZONED: Final = 9
"""An ISO 8601 instant as text; null for Debezium's placeholder."""
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

NONE: Final = -1
ROOT: Final = -2
"""As a validity slot: valid where the payload could be decoded."""

MAX_ROWS: Final = 2_000_000


@dataclass(frozen=True, slots=True)
class ExpectedField:
    """What a row of the program reads, for error messages: the field's path, and what was expected there."""

    path: tuple[str, ...]
    what: str

    def __str__(self) -> str:
        return f"field {'.'.join(self.path)}" if self.path else "the datum"


@dataclass(slots=True)
class Program:
    """A program while it is built; `link` makes of it what the interpreter runs.

    `slot_levels` and `valid_levels` are the level of each slot, `cells[level]` the slots that one row of a level fills.
    """

    rows: list[list[int]] = field(default_factory=list)
    places: list[ExpectedField] = field(default_factory=list)
    slot_levels: list[int] = field(default_factory=list)
    valid_levels: list[int] = field(default_factory=list)
    cells: list[int] = field(default_factory=lambda: [1])

    @property
    def levels(self) -> int:
        """How many levels there are."""
        return len(self.cells)

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

    def slots(self, level: int, count: int) -> int:
        """The first of `count` new slots."""
        self.slot_levels += [level] * count
        self.cells[level] += count
        return len(self.slot_levels) - count

    def valid_slot(self, level: int) -> int:
        """A new slot for validity."""
        self.valid_levels.append(level)
        self.cells[level] += 1
        return len(self.valid_levels) - 1

    def new_level(self) -> int:
        """The number of a new level."""
        self.cells.append(1)
        return self.levels - 1


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
