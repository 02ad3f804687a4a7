"""What can be wrong with a payload: numbers that the interpreter gives, limits, and the sentence for each."""

from typing import Final

from .bytecode import ExpectedField

TRUNCATED: Final = 1
VARINT: Final = 2
RANGE: Final = 3
NEGATIVE: Final = 4
UTF8: Final = 5
BRANCH: Final = 6
LEFT_OVER: Final = 9
ITEMS: Final = 10
CELLS: Final = 11
BLOCK_SIZE: Final = 12
DEPTH: Final = 13
TOO_LONG: Final = 14
CODE_BITS: Final = 4

MAX_EMPTY_ITEMS: Final = 1_000
"""Items without bytes (`array<null>`) that a datum may hold: they cost the sender nothing."""
FREE_CELLS: Final = 16_384
CELLS_PER_BYTE: Final = 64
"""Cells that the items of a datum may take are FREE_CELLS and these for each byte."""
MAX_CALLS: Final = 64
"""How deep records that contain themselves may be nested."""

_MESSAGES: Final = {
    TRUNCATED: "truncated in {place}",
    VARINT: "a number of more than 64 bits in {place}",
    RANGE: "{detail} is not {what} in {place}",
    NEGATIVE: "negative length {detail} in {place}",
    UTF8: "invalid UTF-8 in {place}",
    BRANCH: "no branch {detail} in the union of {what} in {place}",
    LEFT_OVER: "{detail} bytes left over",
    ITEMS: f"{{detail}} items without bytes in {{place}}: more than {MAX_EMPTY_ITEMS} in a datum",
    CELLS: "{detail} items in {place} would take too much memory for the size of the payload",
    BLOCK_SIZE: "a block of items is not as long as it says in {place}",
    DEPTH: f"more than {MAX_CALLS} {{what}} in {{place}}",
    TOO_LONG: "{detail} bytes are too long for a decimal in {place}",
}


def sentence(code: int, place: ExpectedField, detail: int) -> str:
    """One sentence: what is wrong at the place; `detail` is the value that cannot be."""
    if code == LEFT_OVER and detail == 1:
        return "1 byte left over"
    return _MESSAGES[code].format(place=place, what=place.what, detail=detail)
