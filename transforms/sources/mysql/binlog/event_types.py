"""Numbers of the binlog's events and of its column types, as MySQL and MariaDB write them."""

from typing import Final

HEADER: Final = 19
"""Bytes of an event before its body."""
CHECKSUM: Final = 4

QUERY, ROTATE, FORMAT_DESCRIPTION, XID, TABLE_MAP, HEARTBEAT = 2, 4, 15, 16, 19, 27
GTID, ANONYMOUS_GTID, PREVIOUS_GTIDS, PARTIAL_UPDATE, TRANSACTION_PAYLOAD, TAGGED_GTID = 33, 34, 35, 39, 40, 42
MARIADB_GTID, MARIADB_GTID_LIST, START_ENCRYPTION, QUERY_COMPRESSED = 162, 163, 164, 165

WRITES: Final = (23, 30)
UPDATES: Final = (24, 31)
DELETES: Final = (25, 32)
ROWS: Final = (*WRITES, *UPDATES, *DELETES)
PLAIN_OF: Final = {QUERY_COMPRESSED: QUERY, 166: 23, 167: 24, 168: 25, 169: 30, 170: 31, 171: 32}
"""MariaDB's compressed events, and what each is when it is unpacked."""
ARTIFICIAL: Final = 0x20
"""The flag of an event that the server made for its reader, and that no file holds."""

TINY, SHORT, LONG, FLOAT, DOUBLE, NULL, TIMESTAMP, LONGLONG, INT24 = range(1, 10)
DATE, TIME, DATETIME, YEAR, NEWDATE, VARCHAR, BIT, TIMESTAMP2, DATETIME2, TIME2, TYPED_ARRAY = range(10, 21)
BLOB_COMPRESSED, VARCHAR_COMPRESSED, VECTOR = 140, 141, 242
JSON, NEWDECIMAL, ENUM, SET, TINY_BLOB, MEDIUM_BLOB, LONG_BLOB, BLOB, VAR_STRING, STRING, GEOMETRY = range(245, 256)

TYPE_NAMES: Final = {
    0: "decimal of MySQL 4",
    TYPED_ARRAY: "array",
    BLOB_COMPRESSED: "compressed blob",
    VARCHAR_COMPRESSED: "compressed varchar",
}
"""Types that are not read, by the name that an error gives them."""

TABLE_NUMBER: Final = 6
"""Bytes of a table's number, with which TABLE_MAP and row events begin."""
SIGNED: Final = frozenset((TINY, SHORT, LONG, LONGLONG, INT24, FLOAT, DOUBLE, NEWDECIMAL))
"""Types of which the binlog says whether they are unsigned."""
TEXTS: Final = frozenset(
    (VARCHAR, TINY_BLOB, MEDIUM_BLOB, LONG_BLOB, BLOB, VAR_STRING, STRING, VARCHAR_COMPRESSED, BLOB_COMPRESSED)
)
"""Types of which it says the character set."""
