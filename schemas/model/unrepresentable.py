"""Values that no target's type has: what is done with them, and the column beside that keeps their exact text.

Every target keeps dates and timestamps of the years 1 to 9999 and times of day below 24:00; a decimal has so many
digits as its schema says. A source may hold more: `infinity`, years before Christ, MySQL's TIME of 838:59:59.
"""

from enum import StrEnum
from typing import Final

SUFFIX: Final = "__text"


class OnUnrepresentable(StrEnum):
    """What becomes of a value that no target's type has."""

    NULL_AND_NOTE = "null_and_note"
    CLAMP = "clamp"
    TEXT = "text"
    DEAD_LETTER = "dead_letter"


def text_name(name: str) -> str:
    """The column beside `name` that has the exact text of its values which its type has not."""
    return name + SUFFIX
