"""Types of columns as a job file declares them (`tables.columns`), for messages that do not say their types."""

import re
from dataclasses import dataclass
from typing import Final

MOST_DIGITS: Final = 76
PLAIN: Final = (
    *("bool", "int8", "int16", "int32", "int64", "float32", "float64"),
    *("string", "binary", "date", "timestamptz"),
)
"""Types without arguments; `timestamptz` counts microseconds in UTC."""
UNITS: Final = {"time": ("ms", "us", "ns"), "timestamp": ("ms", "us", "ns"), "duration": ("us", "ns")}
"""By type the units that it may have, `us` where none is said."""
_FORM: Final = re.compile(r"\s*([a-z0-9]+)\s*(?:\(\s*([a-z0-9]+)\s*(?:,\s*([0-9]+)\s*)?\))?\s*")
_LIST: Final = re.compile(r"\s*list\s*<(.*)>\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class DeclaredType:
    """A type by its word. `struct`, an object, is said by envelopes alone.

    `digits` and `scale` are those of a decimal, 0 digits where each value has a scale of its own; `unit` is that of a
    time, `item` the type of a list's items.
    """

    word: str
    digits: int = 0
    scale: int = 0
    unit: str = ""
    item: "DeclaredType | None" = None

    def __str__(self) -> str:
        if self.item is not None:
            return f"list<{self.item}>"
        if self.digits:
            return f"decimal({self.digits},{self.scale})"
        return f"{self.word}({self.unit})" if self.unit else self.word


STRING: Final = DeclaredType("string")
INT64: Final = DeclaredType("int64")
STRUCT: Final = DeclaredType("struct")


def declared_type(text: str) -> DeclaredType:
    """The type that a text names, such as `decimal(12,2)`. Raises ValueError with one sentence."""
    inner = _LIST.fullmatch(text)
    if inner is not None:
        return DeclaredType("list", item=declared_type(inner[1]))
    found = _FORM.fullmatch(text)
    word, first, second = found.groups() if found is not None else ("", None, None)
    if word in PLAIN and first is None:
        return DeclaredType(word)
    if word in UNITS and second is None and (first or "us") in UNITS[word]:
        return DeclaredType(word, unit=first or "us")
    if word == "decimal":
        digits, scale = int(first) if first is not None and first.isdigit() else 0, int(second or 0)
        if first is None or (1 <= digits <= MOST_DIGITS and scale <= digits):
            return DeclaredType(word, digits, scale)
    raise ValueError(
        f"{text!r} is no type; there are {', '.join(PLAIN)}, decimal, decimal(digits,scale), list<type>, and "
        f"{', '.join(UNITS)} with a unit of ms, us or ns"
    )
