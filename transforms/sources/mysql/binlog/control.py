"""Events that hold no rows: what the file is, where it goes on, which transaction begins, which statement ran."""

import struct
import zlib
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from .....schemas.errors import SourceError
from .charsets import charset_of, decoded
from .cursor import Cursor

FIXED: Final = struct.Struct("<H50sIB")
STATUS_SIZES: Final = {0: 4, 1: 8, 3: 4, 4: 6}
"""Bytes of the variables of a statement that stand before its character set, or are it (4)."""
CATALOG: Final = (2, 6)


@dataclass(frozen=True, slots=True)
class FormatDescription:
    """The first event of a file: the server's version, and whether the events behind it end with a CRC32."""

    server_version: str
    checksum: bool

    @property
    def mariadb(self) -> bool:
        """Whether MariaDB wrote the file."""
        return "mariadb" in self.server_version.lower()


@dataclass(frozen=True, slots=True)
class Rotate:
    """The file that follows, and the position at which its events begin."""

    file: str
    position: int


@dataclass(frozen=True, slots=True)
class Gtid:
    """A transaction begins. MySQL: `source` is the server's UUID, with `:tag` where it has one, `text` `UUID:number`.

    MariaDB: `source` is `domain-server`, `text` `domain-server-number`. `text` is empty for an anonymous transaction.
    `alone`: it is one statement, such as a DDL, that no COMMIT follows (MariaDB; of MySQL it is not said).
    """

    source: str
    number: int
    text: str
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """A statement: BEGIN, COMMIT, DDL, or a change of rows that was logged as a statement. `error` 0: it succeeded."""

    database: str
    text: str
    error: int


def format_description(body: bytes) -> FormatDescription:
    """Raises SourceError for another version of the binlog than 4."""
    cursor = Cursor(body)
    version, server, _, header = FIXED.unpack(cursor.take(FIXED.size))
    if version != 4 or header != 19:
        raise SourceError(f"the binlog has version {version}, and only 4 is read (MySQL 5.0 and newer)")
    text = server.rstrip(b"\0").decode("ascii", "replace")
    return FormatDescription(text, body[-1] == 1)


def rotate(body: bytes) -> Rotate:
    """What a ROTATE says."""
    cursor = Cursor(body)
    position = cursor.number(8)
    return Rotate(cursor.rest().decode("utf-8", "replace"), position)


def gtid(body: bytes) -> Gtid:
    """What MySQL's GTID or ANONYMOUS_GTID says."""
    cursor = Cursor(body)
    cursor.number(1)
    source, number = str(UUID(bytes=cursor.take(16))), cursor.number(8)
    return Gtid(source, number, f"{source}:{number}" if number else "")


def tagged_gtid(body: bytes) -> Gtid:
    """What the GTID of MySQL 8.3 and newer says where the transaction has a tag."""
    cursor = Cursor(body)
    for _ in range(3):
        _variable(cursor)
    source, tag, number = b"", "", 0
    for field in range(4):
        if _variable(cursor) != field:
            raise SourceError("a GTID with a tag has other fields than MySQL 9 writes")
        if field == 0:
            _variable(cursor)
        elif field == 1:
            source = bytes(_variable(cursor) for _ in range(16))
        elif field == 2:
            number = _signed(cursor)
        else:
            tag = cursor.take(_variable(cursor)).decode("ascii", "replace")
    name = str(UUID(bytes=source)) + (f":{tag}" if tag else "")
    return Gtid(name, number, f"{name}:{number}")


def _variable(cursor: Cursor) -> int:
    """A number whose first byte says by its low ones how many bytes follow."""
    first = cursor.number(1)
    more = 0
    while more < 8 and first >> more & 1:
        more += 1
    if more == 8:
        return cursor.number(8)
    return first >> more + 1 | cursor.number(more) << 7 - more


def _signed(cursor: Cursor) -> int:
    value = _variable(cursor)
    return value >> 1 ^ -(value & 1)


def mariadb_gtid(body: bytes, server: int) -> Gtid:
    """What MariaDB's GTID says; `server` stands in the event's header."""
    cursor = Cursor(body)
    number, domain, flags = cursor.number(8), cursor.number(4), cursor.number(1)
    source = f"{domain}-{server}"
    return Gtid(source, number, f"{source}-{number}", bool(flags & 1))


def mariadb_gtids(body: bytes) -> list[Gtid]:
    """What MariaDB's GTID_LIST says: by domain and server the last transaction of the files before."""
    cursor = Cursor(body)
    count = cursor.number(4) & 0x0FFFFFFF
    found = []
    for _ in range(count):
        domain, server, number = cursor.number(4), cursor.number(4), cursor.number(8)
        found.append(Gtid(f"{domain}-{server}", number, f"{domain}-{server}-{number}"))
    return found


def previous_gtids(body: bytes) -> dict[str, list[tuple[int, int]]]:
    """What PREVIOUS_GTIDS says: by server (with `:tag`) the intervals of numbers, ends not included."""
    cursor = Cursor(body)
    count = cursor.number(8)
    tagged = count >> 56 == 1
    count = count >> 8 & 0xFFFFFFFFFFFF if tagged else count & 0xFFFFFFFFFFFF
    found: dict[str, list[tuple[int, int]]] = {}
    for _ in range(count):
        name = str(UUID(bytes=cursor.take(16)))
        if tagged and (size := _variable(cursor)):
            name += ":" + cursor.take(size).decode("ascii", "replace")
        found[name] = [(cursor.number(8), cursor.number(8)) for _ in range(cursor.number(8))]
    return found


def query(body: bytes) -> Query:
    """A statement, in the character set in which its client sent it."""
    cursor = Cursor(body)
    cursor.number(8)
    schema, error = cursor.number(1), cursor.number(2)
    charset = _client_charset(Cursor(cursor.take(cursor.number(2))))
    database = cursor.take(schema).decode("utf-8", "replace")
    cursor.number(1)
    return Query(database, decoded(cursor.rest(), charset), error)


def _client_charset(variables: Cursor) -> str:
    while variables.left:
        code = variables.number(1)
        if code == 4 and variables.left >= 2:
            return charset_of(variables.number(2)) or "utf8mb4"
        if code in CATALOG:
            variables.take(variables.number(1) + (code == 2))
        elif code in STATUS_SIZES:
            variables.take(STATUS_SIZES[code])
        else:
            break
    return "utf8mb4"


def inflated(packed: bytes, most: int) -> bytes:
    """What MariaDB compressed: a byte with the length's size, the length, and a stream of zlib.

    Raises SourceError for other bytes, and for more than `most`.
    """
    cursor = Cursor(packed)
    head = cursor.number(1)
    if head & 0xF0 != 0x80 or not 1 <= head & 7 <= 4:
        raise SourceError("a compressed event has another compression than zlib")
    size = int.from_bytes(cursor.take(head & 7), "big")
    if size > most:
        raise SourceError(f"a compressed event of {size:,} bytes is larger than an event can be")
    unpack = zlib.decompressobj()
    try:
        plain = unpack.decompress(cursor.rest(), size + 1)
    except zlib.error as error:
        raise SourceError(f"a compressed event cannot be unpacked ({error})") from None
    if len(plain) != size:
        raise SourceError("a compressed event has another length than it says")
    return plain
