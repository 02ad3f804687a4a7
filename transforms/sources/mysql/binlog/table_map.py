"""TABLE_MAP: the table that the rows behind it belong to, and its columns as the binlog describes them.

Format: https://dev.mysql.com/doc/dev/mysql-server/latest/classmysql_1_1binlog_1_1event_1_1Table__map__event.html
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from .....schemas.errors import SourceError
from . import event_types as types
from .cursor import Cursor
from .optional_metadata import Described, read_metadata

NO_METADATA: Final = frozenset((1, 2, 3, 6, 7, 8, 9, 10, 11, 12, 13, 14))
ONE_BYTE: Final = frozenset((4, 5, 17, 18, 19, 140, 242, 245, 249, 250, 251, 252, 255))
TWO_BYTES: Final = frozenset((15, 16, 141, 246, 247, 248, 253, 254))


@dataclass(frozen=True, slots=True)
class Column:
    """A column. `kind` is one of `event_types` (ENUM and SET as themselves), `meta` what the type needs.

    `meta`: bytes of the length of blobs, JSON and geometries; the longest length of strings; bits of BIT; of decimals
    precision << 8 | scale; digits of the fraction of times; bytes of ENUM, SET, FLOAT and DOUBLE. None stands for what
    the server did not say: `name`, `values`, `visible` with `binlog_row_metadata=MINIMAL`, all with MariaDB's NO_LOG.
    `charset` is `binary` for bytes, None for types without text. `geometry` is the type's number in WKB, 0 for any.
    """

    name: str | None
    kind: int
    meta: int
    nullable: bool
    unsigned: bool | None
    charset: str | None
    values: tuple[str, ...] | None
    geometry: int | None
    visible: bool | None


@dataclass(frozen=True, slots=True)
class TableMap:
    """The table as the log describes it; equal events give the same object. `key` has the places of the primary key's
    columns, () where there is none or the server did not say; `prefixed` those that are in the key in part.

    `missing` names what the server did not say, in the words of an error: `the columns' names`.
    """

    database: str
    table: str
    columns: tuple[Column, ...]
    key: tuple[int, ...]
    prefixed: tuple[int, ...]
    missing: tuple[str, ...]

    def demand(self) -> None:
        """Raise SourceError where the log lacks what rows need, with the statement that mends it."""
        if self.missing:
            raise SourceError(
                f"table {self.database}.{self.table}: the binlog does not say {', '.join(self.missing)}; "
                "SET GLOBAL binlog_row_metadata = 'FULL', and start again behind the rows that were written before"
            )


def table_map(body: bytes, *, mariadb: bool) -> TableMap:
    """The table of a TABLE_MAP's body. Raises SourceError for bytes that are none."""
    return _parsed(body[types.TABLE_NUMBER :], mariadb)


@lru_cache(4096)
def _parsed(body: bytes, mariadb: bool) -> TableMap:
    cursor = Cursor(body)
    cursor.number(2)
    names = []
    for _ in range(2):
        names.append(cursor.take(cursor.number(1)).decode("utf-8", "replace"))
        cursor.number(1)
    kinds = cursor.take(cursor.packed())
    details = Cursor(cursor.counted())
    shapes = [_shape(kind, details) for kind in kinds]
    nulls = cursor.take((len(kinds) + 7) // 8)
    described = read_metadata(cursor, [kind for kind, _ in shapes], mariadb=mariadb)
    columns = tuple(
        _column(described, place, kind, meta, bool(nulls[place // 8] >> place % 8 & 1))
        for place, (kind, meta) in enumerate(shapes)
    )
    key, prefixed = tuple(described.key), tuple(described.prefixed)
    return TableMap(names[0], names[1], columns, key, prefixed, tuple(_missing(columns)))


def _shape(kind: int, details: Cursor) -> tuple[int, int]:
    """A column's type and `meta`."""
    if kind in NO_METADATA:
        return kind, 0
    if kind in ONE_BYTE:
        return kind, details.number(1)
    if kind not in TWO_BYTES:
        name = types.TYPE_NAMES.get(kind, f"type {kind}")
        raise SourceError(f"a column of the type {name} is not read")
    first, second = details.number(1), details.number(1)
    if kind in (types.VARCHAR, types.VARCHAR_COMPRESSED):
        return kind, first | second << 8
    if kind == types.BIT:
        return kind, second * 8 + first
    if kind == types.NEWDECIMAL:
        return kind, first << 8 | second
    if first in (types.ENUM, types.SET):
        return first, second
    # The two highest bits of a CHAR's length stand, inverted, within the byte of its type.
    return types.STRING, second | ((first & 0x30) ^ 0x30) << 4


def _column(described: Described, place: int, kind: int, meta: int, nullable: bool) -> Column:
    return Column(
        name=described.names[place] if described.names else None,
        kind=kind,
        meta=meta,
        nullable=nullable,
        unsigned=described.unsigned.get(place),
        charset=described.charsets.get(place),
        values=described.values.get(place),
        geometry=described.geometries.get(place),
        visible=described.visible[place] if described.visible else None,
    )


def _missing(columns: tuple[Column, ...]) -> list[str]:
    found = []
    if any(column.name is None for column in columns):
        found.append("the columns' names")
    if any(column.kind in types.SIGNED and column.unsigned is None for column in columns):
        found.append("which numbers are unsigned")
    if any(column.kind in types.TEXTS and column.charset is None for column in columns):
        found.append("the character sets")
    if any(column.kind in (types.ENUM, types.SET) and column.values is None for column in columns):
        found.append("the values of ENUM and SET")
    return found
