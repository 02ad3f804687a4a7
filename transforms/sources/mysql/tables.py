"""What the source's catalog says of tables, and how their copies are read."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

from ....schemas.errors import JobError
from ..log_records import SCHEMA, record
from .client import Session

CHUNK_BYTES: Final = 4 << 20
FEWEST_ROWS, MOST_ROWS = 10, 50_000
COPIED_SCHEMA: Final = b"J"
"""The first byte of a schema record of a copy; JSON follows."""
SYSTEM: Final = ("information_schema", "mysql", "performance_schema", "sys")

TABLES: Final = f"""
SELECT t.TABLE_SCHEMA, t.TABLE_NAME, t.ENGINE, t.AVG_ROW_LENGTH, t.TABLE_ROWS FROM information_schema.TABLES t
WHERE t.TABLE_TYPE = 'BASE TABLE' AND t.TABLE_SCHEMA NOT IN {SYSTEM}
"""
COLUMNS: Final = """
SELECT COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, NUMERIC_PRECISION, NUMERIC_SCALE, DATETIME_PRECISION
FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s ORDER BY ORDINAL_POSITION
"""
KEY: Final = """
SELECT COLUMN_NAME FROM information_schema.STATISTICS
WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s AND INDEX_NAME = 'PRIMARY' ORDER BY SEQ_IN_INDEX
"""
NUMBERS: Final = ("tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "float", "double", "year")
AS_NUMBERS: Final = ("enum", "set", "bit")
"""Types that an index orders by their numbers, while a comparison with a text goes by the text."""
BYTES: Final = ("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob")
TEXTS: Final = ("char", "varchar", "tinytext", "text", "mediumtext", "longtext")
MOMENTS: Final = ("date", "time", "datetime", "timestamp")
SHAPES: Final = (
    *("geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon"),
    *("geometrycollection", "geomcollection"),
)
KNOWN: Final = frozenset((*NUMBERS, *AS_NUMBERS, *BYTES, *TEXTS, *MOMENTS, *SHAPES, "json", "vector"))


@dataclass(frozen=True, slots=True)
class SourceTable:
    """A table as the catalog has it; `width` are the bytes of its rows on average.

    `rows` are how many there are, about.
    """

    database: str
    table: str
    engine: str
    width: int
    rows: int

    @property
    def name(self) -> str:
        return f"{self.database}.{self.table}"

    @property
    def quoted(self) -> str:
        return f"{quoted(self.database)}.{quoted(self.table)}"

    @property
    def chunk_rows(self) -> int:
        """How many rows come to about `CHUNK_BYTES`."""
        return max(FEWEST_ROWS, min(MOST_ROWS, CHUNK_BYTES // max(self.width, 1)))


@dataclass(frozen=True, slots=True)
class CopiedColumn:
    """A column as the catalog describes it; `precision` of times are the digits of their fraction."""

    name: str
    kind: str
    unsigned: bool
    precision: int
    scale: int

    @property
    def expression(self) -> str:
        """What SELECT names, so that its text is exact."""
        name = quoted(self.name)
        # The text of a FLOAT has six digits; that of a DOUBLE has all of them.
        return f"{name} * 1e0" if self.kind == "float" else name

    @property
    def order(self) -> str:
        """What a chunk's end is told by, where the column is in the key."""
        return f"{quoted(self.name)} + 0" if self.kind in AS_NUMBERS else self.expression


@dataclass(frozen=True, slots=True)
class CopiedSchema:
    """Columns and key of a copied table. Each row has behind its columns' values those of its key once more."""

    columns: tuple[CopiedColumn, ...]
    key: tuple[str, ...]

    @property
    def of_key(self) -> list[CopiedColumn]:
        by_name = {column.name: column for column in self.columns}
        return [by_name[name] for name in self.key]

    def record(self) -> bytes:
        """The S record."""
        return record(SCHEMA, 0, -1, COPIED_SCHEMA + json.dumps(asdict(self), separators=(",", ":")).encode())

    @classmethod
    def of_text(cls, text: bytes) -> "CopiedSchema":
        """What stands in the record behind its first byte."""
        found = json.loads(text)
        return cls(tuple(CopiedColumn(**column) for column in found["columns"]), tuple(found["key"]))


def quoted(name: str) -> str:
    """A name for SQL."""
    return "`" + name.replace("`", "``") + "`"


def tables(session: Session) -> dict[str, SourceTable]:
    """The tables that this user can see, by `DATABASE.TABLE`."""
    found = (
        SourceTable(row[0], row[1], row[2] or "", int(row[3] or 0), int(row[4] or 0)) for row in session.rows(TABLES)
    )
    return {table.name: table for table in found}


def schema_of(session: Session, table: SourceTable) -> CopiedSchema:
    """The columns as the catalog has them now. Raises JobError for a type that is not read."""
    place = (table.database, table.table)
    columns = []
    for name, kind, described, precision, scale, fraction in session.rows(COLUMNS, place):
        if kind not in KNOWN:
            raise JobError(
                f"{table.name}: the column {name} is of the type {kind}, which is not read; leave this table out"
            )
        length = int(precision or 0) if fraction is None else int(fraction)
        columns.append(CopiedColumn(name, kind, "unsigned" in described, length, int(scale or 0)))
    return CopiedSchema(tuple(columns), tuple(name for (name,) in session.rows(KEY, place)))


def rows_of_chunk(session: Session, table: SourceTable) -> int:
    """How many rows one chunk of the copy has."""
    return session.settings.copies.chunk_rows or table.chunk_rows


def copy_query(session: Session, table: SourceTable, schema: CopiedSchema, after: Sequence[str] | None) -> str:
    """SELECT of the chunk behind the row whose key is `after`; without a key, of the whole table."""
    condition = session.settings.copies.where(table.name)
    listed = ", ".join(column.expression for column in schema.columns)
    if not schema.key:
        return f"SELECT {listed} FROM {table.quoted}" + ("" if condition is None else f" WHERE {condition}")
    key = schema.of_key
    listed += "".join(f", {column.order}" for column in key)
    order = ", ".join(quoted(column.name) for column in key)
    behind = None if after is None else _behind(session, key, after)
    conditions = [part for part in (condition, behind) if part is not None]
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"SELECT {listed} FROM {table.quoted}{where} ORDER BY {order} LIMIT {rows_of_chunk(session, table)}"


def _behind(session: Session, key: Sequence[CopiedColumn], after: Sequence[str]) -> str:
    """(a, b) > (x, y), written so that the index of the key serves: a >= x AND (a > x OR a = x AND b > y)."""
    names = [quoted(column.name) for column in key]
    values = [_literal(session, column, text) for column, text in zip(key, after, strict=True)]
    parts = []
    for place in range(len(key)):
        same = [f"{names[i]} = {values[i]}" for i in range(place)]
        parts.append(" AND ".join([*same, f"{names[place]} > {values[place]}"]))
    return f"{names[0]} >= {values[0]} AND (({') OR ('.join(parts)}))"


def _literal(session: Session, column: CopiedColumn, text: str) -> str:
    """A value of `key_texts` as SQL."""
    if column.kind in BYTES:
        return f"x'{text}'"
    return text if column.kind in (*NUMBERS, *AS_NUMBERS) else session.literal(text)


def key_texts(schema: CopiedSchema, values: Sequence[bytes]) -> tuple[str, ...]:
    """The key of a row as texts: bytes as hexadecimal digits. Raises JobError for a number that is none."""
    texts = []
    for column, value in zip(schema.of_key, values, strict=True):
        text = value.hex() if column.kind in BYTES else value.decode()
        if column.kind in (*NUMBERS, *AS_NUMBERS):
            float(text)
        texts.append(text)
    return tuple(texts)
