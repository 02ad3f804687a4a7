"""Events of a binlog: those that a real server wrote, and such as no server writes."""

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from millrace.transforms.sources.mysql.binlog import event_types as types
from millrace.transforms.sources.mysql.binlog.control import FormatDescription, format_description
from millrace.transforms.sources.mysql.binlog.events import Events, Place, split
from millrace.transforms.sources.mysql.binlog.payloads import plain
from millrace.transforms.sources.mysql.binlog.rows import Rows, find_rows
from millrace.transforms.sources.mysql.binlog.table_map import TableMap, table_map
from support.mysql_server import DatabaseServer

MAGIC = 4
"""Bytes of a file before its first event."""


@dataclass(frozen=True)
class Written:
    """What a server wrote to its newest file: the events as they stand there, and with compressed ones unpacked."""

    described: FormatDescription
    stored: Events
    events: Events

    def table(self, name: str) -> tuple[TableMap, Events]:
        """The newest description of a table, and its rows."""
        numbers = self.events.tables()
        maps = {
            int(numbers[i]): table_map(self.events.body(int(i)), mariadb=self.described.mariadb)
            for i in self.events.of_kind(types.TABLE_MAP)
        }
        found = {number: one for number, one in maps.items() if one.table == name}
        chosen = np.flatnonzero(np.isin(numbers, list(found)) & np.isin(self.events.kind, types.ROWS))
        return found[max(found)], self.events.only(chosen)

    def rows(self, name: str) -> tuple[TableMap, Rows]:
        """Its changes."""
        table, events = self.table(name)
        return table, find_rows(events, table)


def newest_file(server: DatabaseServer) -> Path:
    """The binlog file that the server writes."""
    return server.folder / "data" / server.sql("SHOW BINARY LOGS")[-1][0]


def written(server: DatabaseServer) -> Written:
    """All of the newest file; `FLUSH BINARY LOGS` begins another."""
    file = newest_file(server)
    data = file.read_bytes()[MAGIC:]
    stored = split(data, Place(file.name, MAGIC), checksum=True)
    (events,) = plain(stored, most=1 << 40)
    return Written(format_description(stored.body(0)), stored, events)


def event(kind: int, body: bytes, *, checksum: bool = True, position: int = 0) -> bytes:
    """One event of server 1 at second 1,700,000,000, with a CRC32 behind it."""
    size = types.HEADER + len(body) + (types.CHECKSUM if checksum else 0)
    whole = struct.pack("<IBIIIH", 1_700_000_000, kind, 1, size, position + size, 0) + body
    return whole + struct.pack("<I", zlib.crc32(whole)) if checksum else whole
