"""What can be wrong with a JSON payload, as numbers for compiled loops and as sentences."""

from typing import Final

SYNTAX, TRUNCATED, DEPTH, UTF8, ESCAPE, LEFT_OVER, KIND, RANGE, BASE64, MISSING, FULL, CELLS = range(1, 13)
TWICE, UNFIT, ROUNDED, FIELDS = range(13, 17)

CODE_BITS: Final = 5
MAX_DEPTH: Final = 128
FREE_CELLS: Final = 16_384
CELLS_PER_BYTE: Final = 64
"""Cells that the items of a payload may take are FREE_CELLS and these for each byte."""

_SENTENCES: Final = {
    SYNTAX: "not JSON",
    TRUNCATED: "the JSON ends too early",
    DEPTH: f"nested more than {MAX_DEPTH} deep",
    UTF8: "text that is not UTF-8",
    ESCAPE: "an escape in a text that means no character",
    LEFT_OVER: "something stands behind the payload",
    KIND: "the value is not of the type that its field has",
    RANGE: "a number beyond the range of the schema's type",
    BASE64: "bytes that are not base64",
    MISSING: "a field that is not optional is missing or null",
    CELLS: "the payload has too many items with fields that are left out",
    UNFIT: "the text is no value of the column's type",
    ROUNDED: "a number with more digits than a double holds: declare the column under tables.columns",
    FIELDS: "a field that cannot be a column: it has no name, one of Millrace's (_millrace_), or another's but "
    "for the case of letters; or there are too many",
}


def sentence(code: int, place: str) -> str:
    """What is wrong; `place` is the field, where it is known."""
    return f"{place}: {_SENTENCES[code]}" if place else _SENTENCES[code]
