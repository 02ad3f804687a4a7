"""Connections to a MySQL or MariaDB server that is read: statements, chunks of a copy, and the stream of its binlog.

PyMySQL connects. The raw bytes of answers and of the stream are read from its socket, by parts of it that are not
public: `_execute_command`, `_read_packet`, `_rfile` and `_sock`; a test holds them.
"""

import random
import re
import select
import socket
import ssl
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import pymysql
from pymysql.constants import COMMAND
from pymysql.converters import escape_string
from pymysql.cursors import SSCursor

from ....schemas.errors import JobError, LostOffsetsError, SourceError
from ....schemas.secrets import resolve
from ...mysql_protocol.packets import EVENTS, ROWS, first_payload, payloads
from ...mysql_protocol.tls import tls_parameters
from ..copy_options import CopySettings, Sync
from .offsets import STREAM

FIRST: Final = (
    "SET time_zone = '+00:00', sql_mode = '', character_set_results = 'utf8mb4', net_write_timeout = 600, "
    "sql_select_limit = 18446744073709551615"
)
"""How values are written: the same in a copy as in the log. All rows are read, whatever the server's default."""
ISOLATION: Final = "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ"
"""A server's default may be to read rows that are never committed."""
HEARTBEAT: Final = 500_000_000
"""Nanoseconds after which the server of a quiet log says how far it is."""
SILENT_SECONDS: Final = 60.0
RECEIVED: Final = 1 << 20
NON_BLOCKING: Final = 1
READ: Final = "source.username or source.password are wrong"
LASTING: Final = {
    1044: "grant this user what is denied",
    1045: READ,
    1698: READ,
    1130: "the server does not let in this user from here",
    1142: "grant this user what is denied",
    1227: "GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO the user",
    1251: "this way of authentication is not known here",
    1381: "the server writes no binlog; set log_bin and restart it",
    2026: "the server's certificate is not trusted, or it has no TLS; see source.sslmode and source.sslrootcert",
}
"""By error number what a person has to do."""
GONE_FROM_THE_LOG: Final = 1236
POSITIONS: Final = 1 << 32
"""A reader can begin at a position below this one; a file that ends with a large transaction is longer."""
DENIED: Final = 1227


@dataclass(frozen=True, slots=True)
class MySqlSettings:
    """How to reach the server; the password is a reference until a connection is made."""

    host: str
    port: int
    username: str
    password: str | None = field(repr=False)
    sslmode: str
    sslrootcert: str | None
    server_id: int | None
    sync: Sync = "hybrid"
    copies: CopySettings = field(default_factory=CopySettings)
    binlog_start: str | None = None

    @property
    def first(self) -> int:
        """The offset where a table begins."""
        return STREAM if self.sync == "incremental" else 0

    @property
    def full(self) -> bool:
        """Each run copies all rows, and reads no log."""
        return self.sync == "full"

    @property
    def where(self) -> str:
        return f"{self.host}:{self.port}"


@contextmanager
def told(settings: MySqlSettings) -> Iterator[None]:
    """Errors of the server as one sentence: JobError for what a person has to mend, SourceError for the rest."""
    try:
        yield
    except (pymysql.err.MySQLError, OSError) as error:
        number, said = _said(error)
        sentence = f"MySQL at {settings.where}: {said}"
        if number == GONE_FROM_THE_LOG:
            raise lost_log(settings, said) from None
        if number in LASTING or "certificate" in said or "SSL is required" in said:
            raise JobError(f"{sentence}; {LASTING.get(number, LASTING[2026])}") from None
        raise SourceError(sentence) from None


def _said(error: Exception) -> tuple[int, str]:
    number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    text = str(error.args[1]) if len(error.args) > 1 else str(error)
    return number, " ".join(text.split()) or type(error).__name__


def lost_log(settings: MySqlSettings, why: str) -> LostOffsetsError:
    """The error for a binlog that does not hold any more what the target lacks."""
    return LostOffsetsError(
        f"the binlog of {settings.where} does not hold what comes next: {why}; changes that the target lacks are gone "
        "from it, and nothing was skipped. For a new copy, remove the tables from the target and run again"
    )


def other_server(settings: MySqlSettings) -> LostOffsetsError:
    """The error for a server that is not the one that was read."""
    return LostOffsetsError(
        f"{settings.where} is another server than the one that was read (a replica, a restored or a new one), whose "
        "binlog has other places; nothing was read. For a new copy, remove the tables from the target and run again"
    )


def connected(settings: MySqlSettings, **more: Any) -> "pymysql.Connection[Any]":
    """A connection with the settings of every session. Raises pymysql's errors, JobError."""
    found = pymysql.connect(
        host=resolve(settings.host),
        port=settings.port,
        user=resolve(settings.username),
        password="" if settings.password is None else resolve(settings.password),
        charset="utf8mb4",
        autocommit=True,
        connect_timeout=10,
        init_command=FIRST,
        program_name="millrace",
        **tls_parameters(settings.sslmode, settings.sslrootcert),
        **more,
    )
    with found.cursor() as cursor:
        cursor.execute(ISOLATION)
    found._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30)
    found._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 60_000)
    return found


class Session:
    """A connection for statements; each is a transaction of its own."""

    def __init__(self, settings: MySqlSettings) -> None:
        self.settings = settings
        with told(settings):
            self._con = connected(settings)
        said = str(self._con.server_version)
        self.mariadb = "mariadb" in said.lower()
        self.version = tuple(int(part) for part in re.findall(r"\d+", said.removeprefix("5.5.5-"))[:3])

    def rows(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of a statement; raises SourceError, JobError."""
        with told(self.settings), self._con.cursor() as cursor:
            cursor.execute(query, parameters or None)
            return list(cursor.fetchall())

    def literal(self, text: str) -> str:
        """A text as SQL."""
        return f"'{escape_string(text)}'"

    def copied(self, query: str) -> bytes:
        """The rows of a statement as the server sends them: each a length (4 bytes, LE) and its values' texts."""
        with told(self.settings):
            self._con._execute_command(COMMAND.COM_QUERY, query)
            columns = self._con._read_packet().read_length_encoded_integer()
            for _ in range(columns + 1):
                self._con._read_packet()
            found, held = [], b""
            while True:
                part = self._con._rfile.read1(RECEIVED)
                if not part:
                    raise pymysql.err.OperationalError(2013, "the server ended the connection")
                held = held + part if held else part
                rows, used, ended = payloads(held, ROWS)
                held = held[used:]
                found.append(rows)
                if ended:
                    break
            if held[4] == 0xFF:
                pymysql.err.raise_mysql_exception(first_payload(held))
        return b"".join(found)

    def begin_log_file(self) -> bool:
        """Have the server go on in a new file of its binlog; false where this user may not."""
        with told(self.settings), self._con.cursor() as cursor:
            try:
                cursor.execute("FLUSH BINARY LOGS")
            except pymysql.err.OperationalError as error:
                if error.args[0] != DENIED:
                    raise
                return False
        return True

    def close(self) -> None:
        with told(self.settings):
            if self._con.open:
                self._con.close()


class Snapshot:
    """A connection that shows the tables as they are when it is made, until it is closed."""

    def __init__(self, settings: MySqlSettings) -> None:
        self.settings = settings
        with told(settings):
            self._con = connected(settings, conv={}, use_unicode=False, cursorclass=SSCursor)
        self.rows("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        self.rows("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY" if not self.mariadb else
                  "START TRANSACTION WITH CONSISTENT SNAPSHOT")  # fmt: skip

    @property
    def mariadb(self) -> bool:
        return "mariadb" in str(self._con.server_version).lower()

    def rows(self, query: str) -> list[tuple[bytes | None, ...]]:
        """The rows of a statement, values as the server writes them. Raises SourceError, JobError."""
        return list(self.each(query))

    def each(self, query: str) -> Iterator[tuple[bytes | None, ...]]:
        """The same, one after another."""
        with told(self.settings), self._con.cursor() as cursor:
            cursor.execute(query)
            yield from cursor

    def close(self) -> None:
        with told(self.settings):
            if self._con.open:
                self._con.close()


class BinlogDump:
    """The events that a server sends of its binlog, from a position below `POSITIONS` on. Not thread-safe.

    `block`: goes on at the log's end. Raises LostOffsetsError where the log does not hold the position.
    """

    def __init__(self, settings: MySqlSettings, file: str, position: int, *, block: bool = True) -> None:
        self.settings, self._held, self._ended = settings, b"", False
        with told(settings):
            self._con = connected(settings, read_timeout=SILENT_SECONDS)
            with self._con.cursor() as cursor:
                cursor.execute("SET @master_binlog_checksum = 'CRC32', @source_binlog_checksum = 'CRC32'")
                cursor.execute(f"SET @master_heartbeat_period = {HEARTBEAT}, @source_heartbeat_period = {HEARTBEAT}")
                cursor.execute("SET @mariadb_slave_capability = 4")
            number = settings.server_id or random.randrange(1 << 30, 1 << 31)
            head = struct.pack("<IHI", position, 0 if block else NON_BLOCKING, number)
            self._con._execute_command(COMMAND.COM_BINLOG_DUMP, head + file.encode())
            self._sock = self._con._sock

    def events(self, most: int, wait: float) -> bytes:
        """Whole events that have come, up to about `most` bytes, within `wait` seconds. Raises SourceError."""
        found: list[bytes] = []
        left = most
        with told(self.settings):
            while left > 0 and not self._ended:
                if not self._waiting(0.0 if found else wait):
                    break
                part = self._sock.recv(RECEIVED)
                if not part:
                    raise pymysql.err.OperationalError(2013, "the server ended the stream")
                events = self._taken(part)
                left -= len(part)
                if events:
                    found.append(events)
        return b"".join(found)

    def _waiting(self, wait: float) -> bool:
        if isinstance(self._sock, ssl.SSLSocket) and self._sock.pending():
            return True
        return bool(select.select([self._sock], [], [], wait)[0])

    def _taken(self, part: bytes) -> bytes:
        held = self._held + part if self._held else part
        events, used, ended = payloads(held, EVENTS)
        self._held = held[used:]
        if ended:
            if self._held[4] == 0xFF:
                pymysql.err.raise_mysql_exception(first_payload(self._held))
            self._ended = True
        return events

    @property
    def ended(self) -> bool:
        """The log's end was reached; only where it does not `block`."""
        return self._ended

    def close(self) -> None:
        # A QUIT would wait for a server that is sending.
        self._con._force_close()
