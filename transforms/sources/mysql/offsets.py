"""Offsets of a MySQL source: chunks of a table's copy, and above them places in the binlog."""

from typing import Final

POSITION_BITS: Final = 36
"""Bits of an offset for the position in a binlog file; the file's number stands above."""
STREAM: Final = 1 << POSITION_BITS
"""The offset where a table's copy ends and its log begins: no file has the number 0. Below are the copy's chunks."""
FIRST_POSITION: Final = 4
"""Where the events of a file begin."""
INSIDE: Final = STREAM - 1


def offset_of(number: int, position: int) -> int:
    """The offset of a position in the file of this number."""
    return number << POSITION_BITS | position


def place_of(offset: int) -> tuple[int, int]:
    """The file's number and the position in it."""
    return offset >> POSITION_BITS, offset & INSIDE


def number_of(file: str) -> int:
    """The number at the end of a binlog file's name."""
    return int(file.rpartition(".")[2])


def place_text(offset: int) -> str:
    """A place in the binlog, for a message."""
    number, position = place_of(offset)
    return f"binlog file {number:06d}, position {position}"


def place_named(text: str) -> int:
    """The offset of FILE:POSITION."""
    file, _, position = text.rpartition(":")
    return offset_of(number_of(file), int(position))
