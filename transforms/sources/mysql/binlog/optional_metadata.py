"""What a TABLE_MAP says beyond types: names, signs, character sets, values of enums, the primary key.

Each field is a type, a length and a value (`binlog_row_metadata`). Lists of character sets and values go over those
columns that have one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from . import event_types as types
from .charsets import charset_of, decoded
from .cursor import Cursor

(
    SIGNEDNESS, DEFAULT_CHARSET, COLUMN_CHARSET, NAME, SET_VALUES, ENUM_VALUES, GEOMETRY, KEY, PREFIXED_KEY,
    CHOICE_DEFAULT_CHARSET, CHOICE_CHARSET, VISIBILITY,
) = range(1, 13)  # fmt: skip
CHOICES: Final = (types.ENUM, types.SET)


@dataclass(slots=True)
class Described:
    """By the place of the column what the server said; empty where it said nothing."""

    names: list[str] = field(default_factory=list)
    unsigned: dict[int, bool] = field(default_factory=dict)
    charsets: dict[int, str] = field(default_factory=dict)
    values: dict[int, tuple[str, ...]] = field(default_factory=dict)
    geometries: dict[int, int] = field(default_factory=dict)
    visible: list[bool] = field(default_factory=list)
    key: list[int] = field(default_factory=list)
    prefixed: list[int] = field(default_factory=list)


def read_metadata(cursor: Cursor, kinds: Sequence[int], *, mariadb: bool) -> Described:
    """Read to the end. Fields that nobody knows are passed over, as the format says. Raises SourceError."""
    found = Described()
    fields: dict[int, bytes] = {}
    while cursor.left:
        kind = cursor.number(1)
        fields[kind] = cursor.counted()
    numbers = [place for place, kind in enumerate(kinds) if kind in types.SIGNED]
    # MariaDB counts geometries among the texts.
    texts = types.TEXTS | {types.GEOMETRY} if mariadb else types.TEXTS
    written = [place for place, kind in enumerate(kinds) if kind in texts]
    choices = [place for place, kind in enumerate(kinds) if kind in CHOICES]
    if SIGNEDNESS in fields:
        found.unsigned = dict(zip(numbers, _bits(fields[SIGNEDNESS], len(numbers)), strict=True))
    found.charsets = _charsets(fields, (DEFAULT_CHARSET, COLUMN_CHARSET), written)
    found.charsets |= _charsets(fields, (CHOICE_DEFAULT_CHARSET, CHOICE_CHARSET), choices)
    if NAME in fields:
        names = Cursor(fields[NAME])
        found.names = [names.counted().decode("utf-8", "replace") for _ in kinds]
    if VISIBILITY in fields:
        found.visible = _bits(fields[VISIBILITY], len(kinds))
    for number, kind in ((SET_VALUES, types.SET), (ENUM_VALUES, types.ENUM)):
        if number in fields:
            _values(found, Cursor(fields[number]), [place for place in choices if kinds[place] == kind])
    if GEOMETRY in fields:
        shapes = Cursor(fields[GEOMETRY])
        places = (place for place, kind in enumerate(kinds) if kind == types.GEOMETRY)
        found.geometries = {place: shapes.packed() for place in places}
    _key(found, fields, len(kinds))
    return found


def _bits(value: bytes, count: int) -> list[bool]:
    """The highest bit of the first byte is the first."""
    bits = Cursor(value).take((count + 7) // 8)
    return [bool(bits[i // 8] & 0x80 >> i % 8) for i in range(count)]


def _charsets(fields: dict[int, bytes], kinds: tuple[int, int], places: Sequence[int]) -> dict[int, str]:
    """Either a default and its exceptions, by their number among these columns, or one for each."""
    default, each = kinds
    if each in fields:
        cursor = Cursor(fields[each])
        numbers = [cursor.packed() for _ in places]
    elif default in fields:
        cursor = Cursor(fields[default])
        usual = cursor.packed()
        other: dict[int, int] = {}
        while cursor.left:
            place = cursor.packed()
            other[place] = cursor.packed()
        numbers = [other.get(i, usual) for i in range(len(places))]
    else:
        return {}
    return {place: charset_of(number) or f"collation {number}" for place, number in zip(places, numbers, strict=True)}


def _values(found: Described, cursor: Cursor, places: Sequence[int]) -> None:
    for place in places:
        charset = found.charsets.get(place, "utf8mb4")
        found.values[place] = tuple(decoded(cursor.counted(), charset) for _ in range(cursor.packed()))


def _key(found: Described, fields: dict[int, bytes], count: int) -> None:
    cursor = Cursor(fields.get(KEY, b""))
    while cursor.left:
        found.key.append(cursor.packed())
    cursor = Cursor(fields.get(PREFIXED_KEY, b""))
    while cursor.left:
        place, prefix = cursor.packed(), cursor.packed()
        found.key.append(place)
        if prefix:
            found.prefixed.append(place)
    found.key = [place for place in found.key if place < count]
