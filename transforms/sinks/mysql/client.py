"""Connections to a MySQL or MariaDB server, and its errors as Millrace's: one sentence each, without a password.

PyMySQL connects. Rows go to `LOAD DATA LOCAL` and come from answers as bytes, by parts of it that are not public:
`_execute_command`, `_read_packet`, `_read_ok_packet`, `write_packet`, `_local_infile` and `_rfile`; a test holds them.
"""

import re
import shlex
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import numpy as np
import pymysql
from pymysql.constants import COMMAND
from pymysql.protocol import OKPacketWrapper

from ....schemas.errors import IncompatibleSchemaError, MillraceError, TerminalSinkError, TransientSinkError
from ...mysql_protocol.packets import ROWS, count_rows, first_payload, payloads
from ...mysql_protocol.tls import tls_parameters
from .columns import Dialect, quote
from .options import MySqlTargetOptions
from .row_text.decode import Fields, split
from .row_text.encode import LINES, RowTexts
from .server_errors import ADVICE, LOST, NOT_LOCAL, PASSING, VALUES, Advice

__all__ = ["MySqlError", "Server", "Session"]

MySqlError = pymysql.err.MySQLError
OLDEST: Final = {True: (10, 5, 2), False: (8, 0, 17)}
"""By whether it is MariaDB: RENAME COLUMN, or texts that compare with the spaces at their end."""
BATCH_ROWS: Final = 65_536
BATCH_BYTES: Final = 32 << 20
RECEIVED: Final = 1 << 20
SENT: Final = 4 << 20
SHARE: Final = 2
"""A page of INSERT takes at most this part of what the server accepts as one packet."""
FIRST: Final = (
    "SET time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION', "
    "lock_wait_timeout = 60, innodb_lock_wait_timeout = 60, net_read_timeout = 600, net_write_timeout = 600, "
    "sql_select_limit = 18446744073709551615, sql_safe_updates = 0"
)
"""What a server's defaults could make of values, statements and waits is set here."""
ISOLATION: Final = "SET SESSION TRANSACTION ISOLATION LEVEL "


class Session:
    """A connection and the database in it; not shared between threads."""

    def __init__(self, con: "pymysql.Connection[Any]", database: str, another: Callable[[], "Session"]) -> None:
        self.con, self.database, self.another = con, database, another
        said = str(con.get_server_info())
        self.dialect = Dialect("mariadb" in said.lower())
        self.version = tuple(int(part) for part in re.findall(r"\d+", said.removeprefix("5.5.5-"))[:3])
        self._local = True

    def name(self, relation: str) -> str:
        """The relation as SQL names it."""
        return f"{quote(self.database)}.{quote(relation)}"

    def bound(self, relation: str) -> str:
        """`name` for a statement with parameters."""
        return self.name(relation).replace("%", "%%")

    def run(self, query: str, parameters: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        """The rows of one statement."""
        with self.con.cursor() as cursor:
            cursor.execute(query, parameters)
            return list(cursor.fetchall())

    def changed(self, query: str, parameters: Sequence[Any]) -> int:
        """How many rows the statement changed."""
        with self.con.cursor() as cursor:
            return int(cursor.execute(query, parameters))

    def run_each(self, query: str, rows: Sequence[Sequence[Any]]) -> None:
        """One statement with each of these parameters."""
        with self.con.cursor() as cursor:
            for row in rows:
                cursor.execute(query, row)

    def load(self, relation: str, columns: str, rows: RowTexts) -> None:
        """Rows into `relation`, its columns in parentheses: by LOAD DATA LOCAL, or by INSERT where that is not let."""
        if self._local:
            try:
                self._load(f"LOAD DATA LOCAL INFILE 'millrace' INTO TABLE {relation} {LINES} {columns}", rows.data)
            except pymysql.err.OperationalError as error:
                if error.args[0] not in NOT_LOCAL:
                    raise
                self._local = False
            else:
                return
        self._insert(f"INSERT INTO {relation} {columns} VALUES ", rows)

    def _load(self, query: str, data: memoryview) -> None:
        """The server asks for the file that the statement names, and for no other: PyMySQL itself would send any."""
        self.con._execute_command(COMMAND.COM_QUERY, query)
        asked = self.con._read_packet()
        if not asked.is_load_local_packet() or asked.get_all_data()[1:] != b"millrace":
            self.con._force_close()
            raise pymysql.err.OperationalError(2013, "the server did not ask for the rows that it was to load")
        for first in range(0, len(data), SENT):
            self.con.write_packet(data[first : first + SENT].tobytes())
        self.con.write_packet(b"")
        done = OKPacketWrapper(self.con._read_packet())
        if done.warning_count:
            self._raise_warning()

    def _raise_warning(self) -> None:
        """What an INSERT would refuse, LOAD DATA LOCAL only warns of."""
        for level, number, text in self.run("SHOW WARNINGS"):
            if level != "Note":
                raise pymysql.err.DataError(number, text)

    def _insert(self, head: str, rows: RowTexts) -> None:
        ((most,),) = self.run("SELECT @@max_allowed_packet")
        # Each text is what it is, byte for byte, in whichever character set its column has.
        self.run("SET NAMES binary")
        first, begins = 0, 0
        with self.transaction():
            while first < len(rows.ends):
                last = max(int(np.searchsorted(rows.ends, begins + most // SHARE, "right")), first + 1)
                ends = int(rows.ends[last - 1])
                if ends - begins + len(head) >= most:
                    raise pymysql.err.OperationalError(1153, f"a row of {ends - begins} bytes, and {most} are let")
                self.con.query(head.encode() + bytes(rows.data[begins : ends - 2]))
                first, begins = last, ends
        self.run("SET NAMES utf8mb4")

    def answer(self, query: str, columns: int) -> Iterator[list[Fields]]:
        """The columns of the query's rows, 65,536 rows or 32 MB at a time. Nothing else may run meanwhile."""
        self.con._execute_command(COMMAND.COM_QUERY, query)
        self.con._read_packet()
        for _ in range(columns + 1):
            self.con._read_packet()
        found: list[bytes] = []
        held, size, count = b"", 0, 0
        ended = False
        while not ended:
            part = self.con._rfile.read1(RECEIVED)
            if not part:
                raise pymysql.err.OperationalError(2013, "the server ended the connection")
            held = held + part if held else part
            rows, used, ended = payloads(held, ROWS)
            held = held[used:]
            found.append(rows)
            size, count = size + len(rows), count + count_rows(np.frombuffer(rows, np.uint8))
            if count >= BATCH_ROWS or size >= BATCH_BYTES:
                yield split(b"".join(found), columns)
                found, size, count = [], 0, 0
        if held[4] == 0xFF:
            pymysql.err.raise_mysql_exception(first_payload(held))
        if count:
            yield split(b"".join(found), columns)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing."""
        with ExitStack() as undo:
            self.con.begin()
            undo.callback(self.roll_back)
            yield
            self.con.commit()
            undo.pop_all()

    def roll_back(self) -> None:
        """Undo what was not committed; a connection that was lost has undone it."""
        try:
            self.con.rollback()
        except (MySqlError, OSError):
            return


class Server:
    """Where the options lead."""

    def __init__(self, options: MySqlTargetOptions) -> None:
        self._options = options

    def __str__(self) -> str:
        options = self._options
        return f"MySQL (host {options.host}, port {options.port}, database {options.database})"

    def command(self, relation: str) -> str:
        """A line for a shell that shows the relation, after it has asked for the password."""
        options = self._options
        where = ["-h", options.host, "-P", str(options.port), "-u", options.username, "-p", options.database]
        return f"mysql {shlex.join(where)} -e {shlex.quote(f'SELECT * FROM {quote(relation)}')}"

    def connect(self, repeatable: bool = False) -> Session:
        """A new connection, in autocommit; `repeatable`: a transaction sees what was there when it began.

        Raises TerminalSinkError where the database or the server does not fit.
        """
        options = self._options
        con = pymysql.connect(
            host=options.host,
            port=options.port,
            user=options.username,
            password=options.password or "",
            database=options.database,
            charset="utf8mb4",
            autocommit=True,
            local_infile=True,
            connect_timeout=10,
            program_name="millrace",
            **tls_parameters(options.sslmode, options.sslrootcert),
        )
        with ExitStack() as undo:
            undo.callback(con._force_close)
            # What else a server asks for is not sent.
            con._local_infile = False
            con._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30)
            con._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 60_000)
            session = Session(con, options.database, self.connect)
            self._check(session)
            session.run(FIRST)
            session.run(ISOLATION + ("REPEATABLE READ" if repeatable else "READ COMMITTED"))
            undo.pop_all()
        return session

    def _check(self, session: Session) -> None:
        oldest = OLDEST[session.dialect.mariadb]
        if session.version < oldest:
            said = ".".join(map(str, session.version))
            raise TerminalSinkError(
                f"{self}: this is version {said}; Millrace needs MySQL 8.0.17 or MariaDB 10.5.2, or newer ones"
            )

    @contextmanager
    def errors(self) -> Iterator[None]:
        """PyMySQL's errors as Millrace's."""
        try:
            yield
        except (MySqlError, OSError) as error:
            raise self.told(error) from error

    def told(self, error: Exception) -> MillraceError:
        """What went wrong, and what a person can do about it."""
        number, line = said(error)
        for advice in ADVICE:
            if number in advice.numbers or any(words in line for words in advice.words):
                return self._error(advice, line)
        if number in LOST or isinstance(error, (OSError, pymysql.err.InterfaceError)):
            return TransientSinkError(f"{self} does not answer ({line})")
        if number in PASSING:
            return TransientSinkError(f"{self}: {line}")
        if number in VALUES:
            return IncompatibleSchemaError(f"{self}: a value does not fit its column ({line}); write to a new table")
        return TerminalSinkError(f"{self}: {line}")

    def _error(self, advice: Advice, line: str) -> MillraceError:
        kind = TransientSinkError if advice.passes else TerminalSinkError
        return kind(f"{self}: {advice.said.format(database=self._options.database)} ({line})")


def said(error: Exception) -> tuple[int, str]:
    """The error's number, 0 without one, and what it says, in one line."""
    number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    text = str(error.args[1]) if len(error.args) > 1 else str(error)
    return number, " ".join(text.split()) or type(error).__name__
