"""Where the values of columns are written: slots and levels, and the operations that read one value.

A slot is a column to be: one int64 for each row of its level, in one large array with all others; validity has slots
of uint8. Level 0 has a row for each payload. Each array or map that is kept adds a level with a row for each item, of
all payloads together.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

INTEGER: Final = 0
"""A whole number between two bounds."""
STRING: Final = 1
"""Bytes of UTF-8; position and length go to two slots."""
BYTES: Final = 2
"""At most so many bytes."""
BOOLEAN: Final = 4
FLOAT: Final = 5
DOUBLE: Final = 6
FIXED: Final = 7
"""So many bytes."""
DECIMAL: Final = 8
"""Two's complement of so many bytes, or of a length of its own where that is negative; its words as 2 or 4 slots."""
ZONED: Final = 9
"""An ISO 8601 instant as text; null for Debezium's placeholder."""

NONE: Final = -1
ROOT: Final = -2
"""As a validity slot: valid where the payload could be decoded."""


@dataclass(slots=True)
class Layout:
    """Slots while they are given out.

    `slot_levels` and `valid_levels` are the level of each slot, `cells[level]` the slots that one row of a level fills.
    """

    slot_levels: list[int] = field(default_factory=list)
    valid_levels: list[int] = field(default_factory=list)
    cells: list[int] = field(default_factory=lambda: [1])

    @property
    def levels(self) -> int:
        """How many levels there are."""
        return len(self.cells)

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


def starts(sizes: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
    """Where runs of these sizes begin when they follow one another, and where the last ends."""
    stops = np.cumsum(sizes)
    return stops - sizes, int(stops[-1]) if len(stops) else 0
