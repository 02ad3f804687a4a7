"""The tables that a message is compiled to, which `loop.walk` runs over each payload.

A row for each field of each message that is read, in ascending numbers (int64, see the columns below), and a row for
each message: where its fields are, and how they are found by number. Slots and levels are those of `columns.layout`.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...errors import SchemaError
from ..columns.layout import NONE, Layout

# Columns of a field.
NUMBER: Final = 0
OP: Final = 1
WIRE: Final = 2
"""The wire type of one value."""
SLOT: Final = 3
VALID: Final = 4
STRIDE: Final = 5
"""The distance between two slots of one value."""
CHILD: Final = 6
"""The message of a field that holds one."""
LEVEL: Final = 7
"""The level of a repeated field's items; NONE where they are not kept."""
COUNTS: Final = 8
"""The slot that counts a repeated field's items, in the level of its message."""
ITEM_CELLS: Final = 9
"""The cells that one item of a repeated field takes."""
ONEOF: Final = 10
"""The number of the oneof that the field is a member of."""
KIND: Final = 11
"""SINGULAR, NOTED (it is kept that it was there), ONCE (a message that may not stand twice), REPEATED, or PACKABLE (so
many numbers may also stand in one value)."""
MUST: Final = 12
"""1 where the field is required."""
FIELD_COLUMNS: Final = 13

# Columns of a message: its fields [FIRST, STOP), and where `finder` has the row of each field below LIMIT.
FIRST: Final = 0
STOP: Final = 1
FINDER: Final = 2
LIMIT: Final = 3
REQUIRED_FIELDS: Final = 4
"""How many of its fields are required."""
CHECK: Final = 5
"""What its parts have to be together: nothing, or one of those below."""
ENTRY: Final = 6
"""1 for the entry of a map, which has a key and a value and nothing else."""
MESSAGE_COLUMNS: Final = 7

UNCHECKED, INSTANT, SPAN, NUMBER_TEXT = range(4)
"""An instant of the years 1 to 9999, a span of time, a decimal that can be written out."""

SINGULAR, NOTED, ONCE, REPEATED, PACKABLE = range(5)

# Operations: how a value is read.
WHOLE: Final = 0
"""A varint of 64 bits as it is: int64, uint64."""
UNSIGNED: Final = 1
"""The low 32 bits of a varint: uint32."""
ZIGZAG: Final = 2
ZIGZAG_32: Final = 3
TRUTH: Final = 4
SIGNED: Final = 5
"""The low 32 bits of a varint with their sign: int32, enums."""
FOUR: Final = 6
"""Four bytes."""
EIGHT: Final = 7
TEXT: Final = 8
BYTES: Final = 9
MESSAGE: Final = 10
JSON: Final = 11
"""A message whose bytes are kept, the length before them, and become JSON later; CHILD checks them."""

VARINT_WIRE, EIGHT_WIRE, SPAN_WIRE, FOUR_WIRE = 0, 1, 2, 5

DENSE: Final = 128
"""Fields below this number are found by one look."""
MOST_FIELDS: Final = 1_000_000


@dataclass(slots=True)
class Program(Layout):
    """Tables while they are built. `places` has the path of each field, for error messages."""

    fields: list[list[int]] = field(default_factory=list)
    places: list[tuple[str, ...]] = field(default_factory=list)
    messages: list[list[int]] = field(default_factory=list)
    oneofs: int = 0

    def reserve(self, count: int) -> int:
        """The first of `count` rows for the fields of one message."""
        if len(self.fields) + count > MOST_FIELDS:
            raise SchemaError(f"the schema takes more than {MOST_FIELDS} fields to decode")
        self.fields += [[] for _ in range(count)]
        self.places += [()] * count
        return len(self.fields) - count

    def add_message(self) -> int:
        """The number of a new message, whose fields are not known yet."""
        self.messages.append([0] * MESSAGE_COLUMNS)
        return len(self.messages) - 1


@dataclass(frozen=True, slots=True, eq=False)
class Tables:
    """Finished tables: `writing` (fields, FIELD_COLUMNS), `counting` without slots, `messages` and `finder`."""

    writing: NDArray[np.int64]
    counting: NDArray[np.int64]
    messages: NDArray[np.int64]
    finder: NDArray[np.int64]
    slot_levels: NDArray[np.int64]
    valid_levels: NDArray[np.int64]
    levels: int
    oneofs: int

    def placed(
        self, slot_at: NDArray[np.int64], valid_at: NDArray[np.int64], rows: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """`writing` with places in memory for the numbers of slots; `rows` are those of each level."""
        fields = self.writing.copy()
        for column in (SLOT, COUNTS):
            slotted = np.flatnonzero(fields[:, column] >= 0)
            slots = fields[slotted, column]
            fields[slotted, column] = slot_at[slots]
            if column == SLOT:
                fields[slotted, STRIDE] = rows[self.slot_levels[slots]]
        marked = np.flatnonzero(fields[:, VALID] >= 0)
        fields[marked, VALID] = valid_at[fields[marked, VALID]]
        return fields


def link(program: Program) -> Tables:
    """Freeze a program."""
    writing = np.array(program.fields, np.int64).reshape(-1, FIELD_COLUMNS)
    counting = writing.copy()
    counting[:, [SLOT, VALID, COUNTS]] = NONE
    messages = np.array(program.messages, np.int64)
    finder: list[int] = []
    for message in messages:
        rows = range(int(message[FIRST]), int(message[STOP]))
        numbers = {int(writing[row, NUMBER]): row for row in rows if writing[row, NUMBER] < DENSE}
        message[FINDER], message[LIMIT] = len(finder), max(numbers, default=-1) + 1
        finder += [numbers.get(number, NONE) for number in range(int(message[LIMIT]))]
    return Tables(
        writing,
        counting,
        messages,
        np.array([*finder, NONE], np.int64),
        np.array(program.slot_levels, np.int64),
        np.array(program.valid_levels, np.int64),
        program.levels,
        program.oneofs,
    )
