"""What can be wrong with a payload: numbers that the loop gives, limits, and the sentence for each."""

from typing import Final

TRUNCATED: Final = 1
VARINT: Final = 2
UTF8: Final = 3
TAG: Final = 4
WIRE_TYPE: Final = 5
DEPTH: Final = 6
CELLS: Final = 7
TWICE: Final = 8
MEMBERS: Final = 9
MISSING: Final = 10
GROUP: Final = 11
PARTS: Final = 12
ENTRY: Final = 13

FREE_CELLS: Final = 16_384
CELLS_PER_BYTE: Final = 64
"""Cells that repeated fields may take are FREE_CELLS and these for each byte of the payload."""
MAX_DEPTH: Final = 100
"""How deep messages may be nested; Google's readers stop there as well."""

_MESSAGES: Final = {
    TRUNCATED: "truncated in {place}",
    VARINT: "a number of more than 64 bits in {place}",
    UTF8: "invalid UTF-8 in {place}",
    TAG: "{detail} is no field number, behind {place}",
    WIRE_TYPE: "wire type {detail} does not exist, behind {place}",
    DEPTH: f"messages are nested more than {MAX_DEPTH} deep in {{place}}",
    CELLS: "{detail} items so far would take too much memory for the size of the payload, in {place}",
    TWICE: "the message {place} stands twice: Millrace does not merge the two",
    MEMBERS: "{place} and another member of its oneof are both there",
    MISSING: "the required {place} is missing",
    PARTS: "{place} makes its value a time beyond the years 1 to 9999, or a decimal beyond all limits",
    ENTRY: "an entry of a map has more than a key and a value, behind {place}",
    GROUP: "a group ends that did not begin, behind {place}",
}


def sentence(code: int, path: tuple[str, ...], detail: int) -> str:
    """One sentence: what is wrong, in which field; `detail` is the value that cannot be."""
    place = f"field {'.'.join(path)}" if path else "the message's begin"
    return _MESSAGES[code].format(place=place, detail=detail)
