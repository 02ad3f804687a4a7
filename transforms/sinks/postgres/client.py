"""Connections to a Postgres server, and its errors as Millrace's: one sentence each, without a password."""

import shlex
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import numpy as np
import psycopg
from psycopg import DataError
from psycopg import Error as PostgresError
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ....schemas.errors import JobError, MillraceError, TerminalSinkError, TransientSinkError
from ..shared.damage import by_hand
from .columns import quote
from .copy_format.decode import split
from .copy_format.encode import SIGNATURE, TRAILER, Cells

__all__ = ["DataError", "PostgresError", "Server", "Session"]

OLDEST: Final = 150_000
BATCH_ROWS: Final = 65_536
BATCH_BYTES: Final = 32 << 20
CHUNK_BYTES: Final = 1 << 20
DEFAULTS: Final[dict[str, Any]] = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
    "fallback_application_name": "millrace",
}
SHOWN: Final = ("host", "hostaddr", "port", "dbname", "user", "service", "sslmode", "sslrootcert", "sslcert", "sslkey")
LIMITS: Final = (
    "SET LOCAL lock_timeout = '60s'; SET LOCAL idle_in_transaction_session_timeout = '10min'; "
    "SET LOCAL standard_conforming_strings = on"
)
PASSING: Final = ("08", "57", "40", "25P03", "42P01", "53300", "55P03")
"""What SQLSTATEs begin with that are worth another try: connections, interventions, conflicts, locks, a lost table."""
MISSING: Final = ("42P01", "42703")
"""A table, or a column, is not there."""
FULL: Final = "53100"
"""The server's disk is full: there may be room later."""
ADVICE: Final = (
    (FULL, "the server's disk is full; nothing was committed, make room and run again"),
    ("53200", "the server is out of memory; nothing was committed"),
    ("25006", "the database is read-only; connect to the primary, or let this role write"),
    ("42501", "give the role of target.dsn the right to use and create in the schema"),
    ("54", "a row, key or table is larger than Postgres allows"),
    ("2BP01", "something depends on the table, such as a view: drop that first, and make it again afterwards"),
    ("0A000", "Postgres cannot change the table; drop what depends on it, such as a view"),
)
LASTING: Final = (
    ("certificate", "the server's certificate is not trusted; see sslmode and sslrootcert of target.dsn"),
    ("authentication failed", "user name or password of target.dsn are wrong"),
    ("no password supplied", "target.dsn lacks the password"),
    ("no pg_hba.conf entry", "the server does not let in this user from here; see its pg_hba.conf"),
    ("pg_hba.conf rejects", "the server does not let in this user from here; see its pg_hba.conf"),
    ("does not exist", "make it, or correct target.dsn"),
    ("does not support SSL", "the server has no TLS; see sslmode of target.dsn"),
    ("invalid", "correct target.dsn"),
    ("permission denied", "give the role of target.dsn the right to connect"),
    ("is not permitted to log in", "give the role of target.dsn the right to log in"),
)


class Session:
    """A connection and the schema in it; not shared between threads."""

    def __init__(self, con: "psycopg.Connection[Any]", schema: str) -> None:
        self.con, self.schema = con, schema

    def name(self, relation: str) -> str:
        """The relation as SQL names it."""
        return f"{quote(self.schema)}.{quote(relation)}"

    def bound(self, relation: str) -> str:
        """`name` for a statement with parameters."""
        return self.name(relation).replace("%", "%%")

    def run(self, query: str, parameters: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        """The rows of one statement; without parameters, of the last of several."""
        done = self.con.execute(query.encode(), parameters)
        return done.fetchall() if done.description is not None else []

    def run_each(self, query: str, rows: Sequence[Sequence[Any]]) -> None:
        """One statement with each of these parameters."""
        with self.con.cursor() as cursor:
            cursor.executemany(query.encode(), rows)

    def changed(self, query: str) -> int:
        """How many rows the statement changed."""
        return self.con.execute(query.encode()).rowcount

    def copy_in(self, target: str, data: memoryview) -> None:
        """Rows of the binary format into `target`, a relation with its columns."""
        with self.con.cursor().copy(f"COPY {target} FROM STDIN (FORMAT binary)".encode()) as copy:
            for first in range(0, len(data), CHUNK_BYTES):
                copy.write(data[first : first + CHUNK_BYTES])

    def copy_out(self, query: str, columns: int) -> Iterator[list[Cells]]:
        """The cells of the query's columns, 65,536 rows or 32 MB at a time. Nothing else may run meanwhile."""
        rows: list[bytes] = []
        size, skipped = 0, len(SIGNATURE)
        with self.con.cursor().copy(f"COPY ({query}) TO STDOUT (FORMAT binary)".encode()) as copy:
            for chunk in copy:
                row = bytes(chunk)[skipped:]
                skipped = 0
                if not row or row == TRAILER:
                    continue
                rows.append(row)
                size += len(row)
                if len(rows) == BATCH_ROWS or size >= BATCH_BYTES:
                    yield split(np.frombuffer(b"".join(rows), np.uint8), len(rows), columns)
                    rows, size = [], 0
        if rows:
            yield split(np.frombuffer(b"".join(rows), np.uint8), len(rows), columns)

    @contextmanager
    def transaction(self, durable: bool = True) -> Iterator[None]:
        """All or nothing; without `durable` the last ones may be lost where the server crashes."""
        with self.con.transaction():
            self.run(LIMITS if durable else f"{LIMITS}; SET LOCAL synchronous_commit = off")
            yield


class Server:
    """Where `dsn` leads, a string of libpq: `host=... dbname=...` or `postgresql://...`; raises JobError."""

    def __init__(self, dsn: str, schema: str) -> None:
        self._schema = schema
        try:
            self._parts = conninfo_to_dict(dsn)
        except psycopg.ProgrammingError:
            # The error repeats what it cannot read, and that may be the password.
            raise JobError(
                "target.dsn: this is no connection string of Postgres, such as 'host=db dbname=shop user=millrace' or "
                "'postgresql://millrace@db/shop'; special characters of a URL's password are written %XX"
            ) from None
        if not dsn.strip() or "\0" in schema or not schema:
            raise JobError("target: dsn and schema cannot be empty")

    def __str__(self) -> str:
        place = ", ".join(f"{name} {self._parts[name]}" for name in ("host", "port", "dbname") if name in self._parts)
        return f"Postgres ({place or 'service ' + str(self._parts.get('service', 'default'))})"

    def command(self, relation: str) -> str:
        """A line for a shell that shows the relation in psql, which asks for the password where it needs one."""
        query = f"SELECT * FROM {quote(self._schema)}.{quote(relation)}"
        shown = {name: self._parts[name] for name in SHOWN if name in self._parts}
        return f"psql {shlex.quote(make_conninfo('', **shown))} -c {shlex.quote(query)}"

    def connect(self, repeatable: bool = False) -> Session:
        """A new connection, in autocommit; `repeatable`: a transaction sees what its first statement saw.

        Raises TerminalSinkError where the schema or the server does not fit.
        """
        try:
            con = psycopg.connect(
                **{**DEFAULTS, **self._parts, "client_encoding": "utf8"}, autocommit=True, prepare_threshold=None
            )
        except psycopg.OperationalError as error:
            raise self._refused(error) from error
        # Under a stricter level, a commit that waited for another one would decide on what it saw before.
        level = psycopg.IsolationLevel
        con.isolation_level = level.REPEATABLE_READ if repeatable else level.READ_COMMITTED
        session = Session(con, self._schema)
        with ExitStack() as undo:
            undo.callback(con.close)
            self._check(session)
            undo.pop_all()
        return session

    def _check(self, session: Session) -> None:
        info = session.con.info
        if info.server_version < OLDEST:
            raise TerminalSinkError(
                f"{self}: this is version {info.server_version // 10_000}; Millrace needs 15 or newer"
            )
        if info.parameter_status("server_encoding") != "UTF8":
            raise TerminalSinkError(
                f"{self}: the database's encoding is {info.parameter_status('server_encoding')}, which cannot hold all "
                "texts; make one with ENCODING 'UTF8'"
            )
        if not session.run("SELECT 1 FROM pg_namespace WHERE nspname = %s", [self._schema]):
            raise TerminalSinkError(
                f"{self}: the schema {self._schema!r} does not exist; CREATE SCHEMA it, or correct target.schema"
            )

    def _refused(self, error: Exception) -> MillraceError:
        line = first_line(error)
        for words, advice in LASTING:
            if words in line:
                return TerminalSinkError(f"{self}: {advice} ({line})")
        return TransientSinkError(f"{self} does not answer ({line})")

    @contextmanager
    def errors(self) -> Iterator[None]:
        """psycopg's errors as Millrace's."""
        try:
            yield
        except PostgresError as error:
            raise self.told(error) from error

    def told(self, error: PostgresError) -> MillraceError:
        """What went wrong, and what a person can do about it."""
        line = first_line(error)
        state = error.sqlstate or ""
        for prefix, advice in ADVICE:
            if state.startswith(prefix):
                kind = TransientSinkError if state == FULL else TerminalSinkError
                return kind(f"{self}, schema {self._schema!r}: {advice} ({line})")
        changed = by_hand(line) if state in MISSING else None
        if changed is not None:
            return TerminalSinkError(f"{self}, schema {self._schema!r}: {changed} ({line})")
        lost = not state and isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError))
        if lost or state.startswith(PASSING):
            return TransientSinkError(f"{self}, schema {self._schema!r}: {line}")
        return TerminalSinkError(f"{self}, schema {self._schema!r}: {line}")


def first_line(error: BaseException) -> str:
    """The first line of what an error says."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
