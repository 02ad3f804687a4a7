"""Columns of a MySQL table: their types and names there.

| Arrow                             | MySQL                                      |
|-----------------------------------|--------------------------------------------|
| int8 to int64, uint8 to uint64    | tinyint to bigint, with or without unsigned |
| float16, float32, float64         | float, float, double                       |
| decimal, at most 65 digits, 30 after the point | decimal                       |
| any other decimal                 | varchar(82), its digits                    |
| string                            | longtext, or varchar(n) in a key           |
| binary                            | longblob, or varbinary(n) in a key         |
| fixed_size_binary, at most 255    | binary(n)                                  |
| bool, date32                      | tinyint(1), date                           |
| time32, time64[us]                | time(6)                                    |
| timestamp[s, ms, us], date64      | datetime(6), in UTC where the stream's has a zone |
| time64[ns], timestamp[ns], duration | bigint, in its own unit                  |
| list, struct, map                 | json, as `shared.json_values` tells        |
| null                              | int                                        |

Texts compare as their bytes do: `A`, `a` and `a ` are three keys. A key of at most 3072 bytes has room for n
characters of each text, 768 where there is one text in it. A name of more than 64 characters, or of such that MySQL's
names cannot have, is written as what fits of it, `~` and twelve hexadecimal digits of its BLAKE2 hash. What is outside
the range of a type (NaN, infinities and -0.0; years but 1 to 9999; times beyond 838 hours) is stored as NULL, 0 or the
nearest moment, and exactly, as a number, in the column `_millrace_beyond_<n>` of the n-th column, which is made when
the first such value comes: the bits of a float64, else in the type's own unit.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from ....schemas.errors import TerminalSinkError
from ....schemas.model.change import PREFIX
from ....schemas.model.table import Table
from ..shared.json_values import JsonForm, same_json
from ..shared.types import plain

MOST_CHARACTERS: Final = 64
MOST_FILE_BYTES: Final = 200
"""A table is a file, where a character that is no ASCII letter or digit takes five bytes."""
BEYOND: Final = f"{PREFIX}beyond_"
KEY_BYTES: Final = 3072
OTHER_KEY_BYTES: Final = 90
"""Room in a key for a column that is neither text nor bytes of any length, of whatever type it may grow to."""
MOST_TEXT: Final = 768
DIGITS: Final = "varchar(82)"
WIDEST: Final = 255
POSITION_TYPE: Final = "binary(32)"
JSON: Final = JsonForm(lambda texts: texts, str, str, all_digits=False)
FORBIDDEN: Final = re.compile(r"[\U00010000-\U0010ffff]|\s$|^$")


def physical(name: str) -> str:
    """A table's or column's name in MySQL."""
    in_file = sum(1 if letter.isascii() and (letter.isalnum() or letter == "_") else 5 for letter in name)
    if len(name) <= MOST_CHARACTERS and in_file <= MOST_FILE_BYTES and not FORBIDDEN.search(name):
        return name
    kept, room = "", MOST_FILE_BYTES - 20
    for letter in FORBIDDEN.sub("_", name)[: MOST_CHARACTERS - 13]:
        room -= 1 if letter.isascii() and letter.isalnum() else 5
        kept += letter if room >= 0 else ""
    return f"{kept}~{hashlib.blake2b(name.encode(), digest_size=6).hexdigest()}"


def quote(name: str) -> str:
    """The name as an SQL identifier."""
    return "`" + name.replace("`", "``") + "`"


@dataclass(frozen=True, slots=True)
class Dialect:
    """In which the two kinds of servers differ."""

    mariadb: bool

    @property
    def collation(self) -> str:
        """That of texts: bytes are compared, and spaces at the end count."""
        return "utf8mb4_nopad_bin" if self.mariadb else "utf8mb4_0900_bin"

    @property
    def json(self) -> str:
        """The type of JSON as the catalog spells it."""
        return "longtext" if self.mariadb else "json"

    def text(self, kind: str) -> str:
        """A type of texts with its collation."""
        return f"{kind} CHARACTER SET utf8mb4 COLLATE {self.collation}"

    def staged(self, kind: str) -> str:
        """A type of a staged column: JSON is text there, as MariaDB has it in a table too."""
        return "longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin" if kind == "json" else self.declared(kind)

    def declared(self, kind: str) -> str:
        """A type as CREATE TABLE wants it."""
        if kind.startswith("varchar") or kind == "longtext":
            return self.text(kind)
        return kind


SIMPLE: Final = (
    (pa.types.is_null, "int"),
    (pa.types.is_boolean, "tinyint(1)"),
    (pa.types.is_int8, "tinyint"),
    (pa.types.is_uint8, "tinyint unsigned"),
    (pa.types.is_int16, "smallint"),
    (pa.types.is_uint16, "smallint unsigned"),
    (pa.types.is_int32, "int"),
    (pa.types.is_uint32, "int unsigned"),
    (pa.types.is_int64, "bigint"),
    (pa.types.is_uint64, "bigint unsigned"),
    (pa.types.is_float64, "double"),
    (pa.types.is_floating, "float"),
    (pa.types.is_date32, "date"),
    (pa.types.is_duration, "bigint"),
    (pa.types.is_nested, "json"),
)
LIMITED: Final = frozenset({"float", "double", "date", "time(6)", "datetime(6)"})


def is_text(kind: pa.DataType) -> bool:
    """Whether it holds texts, of whatever offsets."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_bytes(kind: pa.DataType) -> bool:
    """Whether it holds bytes of any length, or more of them than a BINARY."""
    if pa.types.is_fixed_size_binary(kind):
        return bool(kind.byte_width > WIDEST)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


def sql_type(kind: pa.DataType) -> str:
    """MySQL's type of a column that is not of the key. Raises TerminalSinkError for what cannot be stored."""
    kind = plain(kind)
    for matches, name in SIMPLE:
        if matches(kind):
            return name
    if pa.types.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})" if _is_decimal(kind) else DIGITS
    if pa.types.is_time(kind):
        return "bigint" if kind.unit == "ns" else "time(6)"
    if pa.types.is_date64(kind) or pa.types.is_timestamp(kind):
        return "bigint" if unit_of(kind) == "ns" else "datetime(6)"
    if is_text(kind):
        return "longtext"
    if pa.types.is_interval(kind):
        raise TerminalSinkError(f"the type {kind} cannot be stored; cast it to a duration or to text at the source")
    return "longblob" if is_bytes(kind) else f"binary({kind.byte_width})"


def _is_decimal(kind: pa.DataType) -> bool:
    return bool(kind.precision <= 65 and 0 <= kind.scale <= 30)


def key_room(table: Table) -> int:
    """How many bytes of a key each of its texts and values of bytes may have."""
    kinds = [plain(table.columns.field(name).type) for name in table.key]
    long = sum(is_text(kind) or is_bytes(kind) for kind in kinds)
    fixed = [kind.byte_width if pa.types.is_fixed_size_binary(kind) else OTHER_KEY_BYTES for kind in kinds]
    rest = sum(size for kind, size in zip(kinds, fixed, strict=True) if not (is_text(kind) or is_bytes(kind)))
    return max(4, (KEY_BYTES - rest) // max(long, 1))


def key_characters(table: Table) -> int:
    """How many characters each text of the key may have."""
    return min(MOST_TEXT, key_room(table) // 4)


def column_type(table: Table, name: str) -> str:
    """MySQL's type of this column of the table."""
    kind = plain(table.columns.field(name).type)
    if name not in table.key:
        return sql_type(kind)
    if is_text(kind):
        return f"varchar({key_characters(table)})"
    return f"varbinary({key_room(table)})" if is_bytes(kind) else sql_type(kind)


def shown(kind: pa.DataType, value: str) -> str:
    """The value as a query has to ask for it: of a FLOAT, MySQL shows six digits and of a DOUBLE all."""
    return f"{value} * 1e0" if sql_type(kind) == "float" else value


def is_limited(kind: pa.DataType) -> bool:
    """Whether Arrow has values of it that are beyond the range of MySQL's type."""
    return sql_type(kind) in LIMITED


def unit_of(kind: pa.DataType) -> str:
    """The unit of a temporal type."""
    return "ms" if pa.types.is_date64(kind) else str(kind.unit)


def converts(old: pa.DataType, new: pa.DataType) -> bool:
    """Whether MySQL makes the value of the stream's type `new` of one of `old` by assignment alone; else Arrow has to.

    `new` is a type that `schemas.model.table.widened` gives.
    """
    old, new = plain(old), plain(new)
    if old.equals(new) or pa.types.is_null(old):
        return True
    if pa.types.is_nested(new):
        return same_json(old, new)
    return not (DIGITS in (sql_type(old), sql_type(new)) or "bigint" in (_number(old), _number(new)))


def _number(kind: pa.DataType) -> str:
    """The type of a time that is stored as a number in its own unit; nothing for the others."""
    return sql_type(kind) if pa.types.is_temporal(kind) else ""
