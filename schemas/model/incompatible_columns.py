"""Columns whose type changed for good at the source: what the job does then, and the columns beside that take over.

`legacy_ref__int64` stands beside `legacy_ref`: the column's name, two underscores, the plain word of the new type, and
`_2`, `_3` where a column of that name cannot hold the type either.
"""

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from enum import StrEnum
from typing import Final

import pyarrow as pa

BETWEEN: Final = "__"


class OnIncompatible(StrEnum):
    """What becomes of values that the table's column of their name cannot hold."""

    STOP = "stop"
    NEW_COLUMN = "new_column"
    DEAD_LETTER = "dead_letter"


_WORDS: Final[Sequence[tuple[Callable[[pa.DataType], bool], str]]] = (
    (pa.types.is_float16, "float16"),
    (pa.types.is_float32, "float32"),
    (pa.types.is_float64, "float64"),
    (pa.types.is_decimal, "decimal"),
    (pa.types.is_date, "date"),
    (pa.types.is_time, "time"),
    (pa.types.is_duration, "duration"),
    (pa.types.is_struct, "struct"),
    (pa.types.is_map, "map"),
    (pa.types.is_boolean, "bool"),
    (pa.types.is_string, "string"),
    (pa.types.is_large_string, "string"),
    (pa.types.is_string_view, "string"),
    (pa.types.is_binary, "binary"),
    (pa.types.is_large_binary, "binary"),
    (pa.types.is_fixed_size_binary, "binary"),
    (pa.types.is_nested, "list"),
)
_INTEGERS: Final = tuple(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
WORDS: Final = (*_INTEGERS, *dict.fromkeys(word for _, word in _WORDS), "timestamp", "timestamptz", "other")
ENDING: Final = re.compile(rf"(.+){BETWEEN}(?:{'|'.join(WORDS)})(?:_[2-9])?", re.DOTALL)


def type_word(kind: pa.DataType) -> str:
    """The plain word of a type: `int64`, `decimal`, `timestamptz`, `list`."""
    if pa.types.is_integer(kind):
        return str(kind)
    if pa.types.is_timestamp(kind):
        return "timestamp" if kind.tz is None else "timestamptz"
    return next((word for matches, word in _WORDS if matches(kind)), "other")


def columns_beside(name: str, names: Iterable[str]) -> list[str]:
    """Which of these columns stand beside `name`, in their order."""
    found = ((other, ENDING.fullmatch(other)) for other in names if other.startswith(name + BETWEEN))
    return [other for other, ending in found if ending is not None and ending[1] == name]


def name_beside(name: str, kind: pa.DataType, taken: Collection[str]) -> str:
    """The name of a new column beside `name` for values of this type; `taken` are those that it cannot have."""
    first = f"{name}{BETWEEN}{type_word(kind)}"
    used = {other.casefold() for other in taken}
    names = (first, *(f"{first}_{number}" for number in range(2, 10)))
    return next((one for one in names if one.casefold() not in used), first)
