"""Columns of a Postgres table: their types and names there.

| Arrow                             | Postgres                            |
|-----------------------------------|-------------------------------------|
| int8 to int64, float32/64         | smallint to bigint, real, double    |
| uint8, uint16, uint32, uint64     | smallint to bigint, numeric(20,0)   |
| float16                           | real                                |
| decimal                           | numeric                             |
| string, binary, bool, date32      | text, bytea, boolean, date          |
| fixed_size_binary                 | bytea                               |
| time32, time64[us]                | time                                |
| time64[ns], duration              | bigint, in its own unit             |
| timestamp[s, ms, us], without UTC | timestamp                           |
| timestamp[s, ms, us], UTC         | timestamptz                         |
| timestamp[ns], with or without    | bigint, nanoseconds                 |
| list, struct, map                 | jsonb, as `shared.json_values` tells |
| null                              | integer                             |

A name of more than 63 bytes, which Postgres would cut, and that of a system column (`ctid`) are written as what fits of
them, `~` and twelve hexadecimal digits of their BLAKE2 hash. Postgres has no NUL in text: it is written as U+FDD0
(a code point that is no character) and `0`, U+FDD0 itself as U+FDD0 and `1`. A date, time or timestamp outside
Postgres' range is stored as `-infinity`, `infinity` or the nearest time, and exactly, as a number in its own unit, in
the column `_millrace_beyond_<n>` of the n-th column, which is made when the first such value comes.
"""

import hashlib
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from ....schemas.errors import TerminalSinkError
from ....schemas.model.change import PREFIX
from ..shared.json_values import JsonForm, same_json
from ..shared.types import plain

MOST_BYTES: Final = 63
SYSTEM_COLUMNS: Final = frozenset({"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"})
BEYOND: Final = f"{PREFIX}beyond_"
ESCAPE: Final = "\ufdd0"
FACTORS: Final = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
DAY: Final = 86_400
"""Seconds."""
MOST_DIGITS: Final = 1000


def physical(name: str) -> str:
    """A table's or column's name in Postgres."""
    raw = name.encode()
    if len(raw) <= MOST_BYTES and name not in SYSTEM_COLUMNS:
        return name
    digest = hashlib.blake2b(raw, digest_size=6).hexdigest()
    return f"{raw[: MOST_BYTES - 13].decode(errors='ignore')}~{digest}"


def quote(name: str) -> str:
    """The name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """The text as an SQL constant."""
    return "'" + text.replace("'", "''") + "'"


def escaped(text: str) -> str:
    """The text as Postgres can hold it."""
    return text.replace(ESCAPE, f"{ESCAPE}1").replace("\0", f"{ESCAPE}0")


def escape_texts(texts: pa.Array) -> pa.Array:
    """`escaped` over a column; the column itself where nothing has to be escaped."""
    for found, replacement in ((ESCAPE, f"{ESCAPE}1"), ("\0", f"{ESCAPE}0")):
        if pc.any(pc.match_substring(texts, found)).as_py():
            texts = pc.replace_substring(texts, found, replacement)
    return texts


def unescape_texts(texts: pa.Array) -> pa.Array:
    """What `escape_texts` was given."""
    if not pc.any(pc.match_substring(texts, ESCAPE)).as_py():
        return texts
    return pc.replace_substring(pc.replace_substring(texts, f"{ESCAPE}0", "\0"), f"{ESCAPE}1", ESCAPE)


def unescaped(text: str) -> str:
    """What `escaped` was given."""
    return text.replace(f"{ESCAPE}0", "\0").replace(f"{ESCAPE}1", ESCAPE)


JSONB: Final = JsonForm(escape_texts, escaped, unescaped, all_digits=True)


def is_nested(kind: pa.DataType) -> bool:
    """Whether it is stored as jsonb."""
    return pa.types.is_nested(plain(kind))


def is_limited(kind: pa.DataType) -> bool:
    """Whether Arrow has values of it that are beyond the range of Postgres' type."""
    return sql_type(kind) in LIMITED


LIMITED: Final = frozenset(
    {"date", "time without time zone", "timestamp without time zone", "timestamp with time zone"}
)
SIMPLE: Final = (
    (pa.types.is_null, "integer"),
    (pa.types.is_boolean, "boolean"),
    (pa.types.is_int8, "smallint"),
    (pa.types.is_int16, "smallint"),
    (pa.types.is_uint8, "smallint"),
    (pa.types.is_int32, "integer"),
    (pa.types.is_uint16, "integer"),
    (pa.types.is_int64, "bigint"),
    (pa.types.is_uint32, "bigint"),
    (pa.types.is_uint64, "numeric(20,0)"),
    (pa.types.is_float64, "double precision"),
    (pa.types.is_floating, "real"),
    (pa.types.is_date32, "date"),
    (pa.types.is_duration, "bigint"),
    (pa.types.is_nested, "jsonb"),
)


def sql_type(kind: pa.DataType) -> str:
    """Postgres' type as `format_type` spells it. Raises TerminalSinkError for what cannot be stored."""
    kind = plain(kind)
    for matches, name in SIMPLE:
        if matches(kind):
            return name
    if pa.types.is_decimal(kind):
        return f"numeric({kind.precision},{kind.scale})"
    if pa.types.is_time(kind):
        return "bigint" if kind.unit == "ns" else "time without time zone"
    if pa.types.is_date64(kind):
        return "timestamp without time zone"
    if pa.types.is_timestamp(kind):
        return "bigint" if kind.unit == "ns" else f"timestamp {'without' if kind.tz is None else 'with'} time zone"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "text"
    if pa.types.is_interval(kind):
        raise TerminalSinkError(f"the type {kind} cannot be stored; cast it to a duration or to text at the source")
    return "bytea"


def unit_of(kind: pa.DataType) -> str:
    """The unit of a temporal type."""
    return "ms" if pa.types.is_date64(kind) else str(kind.unit)


def units_in(old: pa.DataType, new: pa.DataType) -> int:
    """How many units of `new` are one of `old`, a date's being the day."""
    if pa.types.is_date32(old):
        return DAY * FACTORS[unit_of(new)]
    return FACTORS[unit_of(new)] // FACTORS[unit_of(old)]


def converted(old: pa.DataType, new: pa.DataType, value: str, beyond: str | None = None) -> str | None:
    """SQL that makes a value of the stream's type `new` of one of `old`; None where Arrow has to.

    `new` is a type that `schemas.model.table.widened` gives; `beyond` is the column of what is beyond Postgres' range.
    """
    old, new = plain(old), plain(new)
    if pa.types.is_null(old):
        return f"NULL::{sql_type(new)}"
    if pa.types.is_nested(new):
        return value if same_json(old, new) else None
    if pa.types.is_duration(new):
        return f"{value} * {FACTORS[new.unit] // FACTORS[old.unit]}"
    if (pa.types.is_timestamp(new) or pa.types.is_time(new)) and (
        new.unit == "ns" and (pa.types.is_date32(old) or unit_of(old) != "ns")
    ):
        seen = f"extract(epoch FROM {value}) * {FACTORS['ns']}"
        exact = f"{beyond}::numeric * {units_in(old, new)}"
        return f"({seen if beyond is None else f'coalesce({exact}, {seen})'})::bigint"
    return value if sql_type(old) == sql_type(new) else f"{value}::{sql_type(new)}"
