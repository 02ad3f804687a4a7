"""Connections to a Postgres server that is read: statements, copies, and the stream of a replication slot."""

import ctypes
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from ctypes.util import find_library
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
from psycopg import pq

from ....schemas.errors import JobError, LostOffsetsError, SourceError
from ....schemas.secrets import resolve
from ..copy_options import CopySettings, Sync

STREAM: Final = 1 << 24
"""The offset where a table's copy ends and its log begins: no LSN is lower. Below it are the chunks of the copy."""
SETTINGS: Final = (
    "-c DateStyle=ISO -c IntervalStyle=postgres -c extra_float_digits=3 -c TimeZone=UTC -c bytea_output=hex "
    "-c standard_conforming_strings=on"
)
"""How values are written: the same in the log and in a copy, and read in a statement."""
FETCHED: Final = 5_000
"""Rows of one FETCH."""
LASTING: Final = (
    ("authentication failed", "source.username or source.password are wrong"),
    ("no password supplied", "add source.password"),
    ("no pg_hba.conf entry", "the server does not let in this role from here; see its pg_hba.conf"),
    ("does not exist", "correct source.database or source.username"),
    ("does not support SSL", "the server has no TLS; see source.sslmode"),
    ("certificate", "the server's certificate is not trusted; see source.sslmode and source.sslrootcert"),
    ("must be superuser or replication role", "ALTER ROLE ... REPLICATION"),
    ("permission denied", "grant this role what is denied"),
)
BUSY: Final = "55006"
LOST: Final = (
    (r'publication "[^"]+" does not exist', "was read without its publication"),
    (r'replication slot "[^"]+" does not exist', "is gone"),
    (
        r"can no longer get changes|WAL segment \S+ has already been removed",
        "has lost its WAL (max_slot_wal_keep_size)",
    ),
)
"""What the server says where the log is not to be had any more, and what that means of the slot."""


@dataclass(frozen=True, slots=True)
class PostgresSettings:
    """How to reach the database; the password is a reference until a connection is made."""

    host: str
    port: int
    database: str
    username: str
    password: str | None = field(repr=False)
    sslmode: str
    sslrootcert: str | None
    slot: str
    publication: str
    sync: Sync = "hybrid"
    copies: CopySettings = field(default_factory=CopySettings)

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
        return f"{self.host}:{self.port}/{self.database}"

    def parameters(self) -> dict[str, Any]:
        """libpq's parameters, with the secret. Raises JobError."""
        found: dict[str, Any] = {
            "host": resolve(self.host),
            "port": self.port,
            "dbname": resolve(self.database),
            "user": resolve(self.username),
            "sslmode": self.sslmode,
            "options": SETTINGS,
            "client_encoding": "UTF8",
            "connect_timeout": 10,
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "tcp_user_timeout": 60_000,
            "fallback_application_name": "millrace",
        }
        if self.password is not None:
            found["password"] = resolve(self.password)
        if self.sslrootcert is not None:
            found["sslrootcert"] = self.sslrootcert
        return found


def lost_slot(settings: PostgresSettings, why: str) -> LostOffsetsError:
    """The error for a slot that does not hold any more what the target lacks."""
    return LostOffsetsError(
        f"the slot {settings.slot} at {settings.where} {why}: changes that the target lacks are gone from the log; "
        "nothing was skipped. For a new copy, remove the tables from the target, drop the slot "
        "(millrace slot drop JOB) and run again"
    )


@contextmanager
def told(settings: PostgresSettings) -> Iterator[None]:
    """Errors of the server as one sentence: JobError for what a person has to mend, SourceError for the rest.

    LostOffsetsError where the log is gone.
    """
    try:
        yield
    except psycopg.Error as error:
        said = " ".join(str(error).split()) or type(error).__name__
        said = said.removeprefix("connection failed: ")
        for pattern, why in LOST:
            if re.search(pattern, said):
                raise lost_slot(settings, why) from None
        for part, advice in LASTING:
            if part in said:
                raise JobError(f"Postgres at {settings.where}: {said}; {advice}") from None
        if error.sqlstate == BUSY:
            said += f"; another run reads the slot {settings.slot}: a slot belongs to one job"
        raise SourceError(f"Postgres at {settings.where}: {said}") from None


class Session:
    """A connection for statements; each is a transaction of its own."""

    def __init__(self, settings: PostgresSettings) -> None:
        self.settings = settings
        with told(settings):
            self._con = psycopg.connect(**settings.parameters(), autocommit=True)

    def rows(self, query: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of a statement; raises SourceError, JobError."""
        with told(self.settings):
            done = self._con.execute(query.encode(), parameters or None)
            return done.fetchall() if done.description else []

    def each(self, query: str, parameters: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        """The rows of a long answer, a few thousand at a time. Raises SourceError, JobError."""
        with told(self.settings), self._con.transaction(), self._con.cursor("each") as cursor:
            yield from cursor.execute(query.encode(), parameters)

    @contextmanager
    def unaltered(self, table: str) -> Iterator[None]:
        """The columns of a table (quoted) stay as they are until the end: all in between is one transaction."""
        with told(self.settings), self._con.transaction():
            self._con.execute(f"LOCK TABLE {table} IN ACCESS SHARE MODE".encode())
            yield

    def copied(self, query: str) -> bytes:
        """What COPY ... (FORMAT binary) gives, without its header."""
        with told(self.settings), self._con.cursor() as cursor, cursor.copy(query.encode()) as copy:
            data = b"".join(bytes(part) for part in copy)
        return data[19:]

    def close(self) -> None:
        self._con.close()


class Snapshot:
    """A connection that shows the database as it is at its first statement, until it is closed."""

    def __init__(self, settings: PostgresSettings) -> None:
        self.settings = settings
        with told(settings):
            self._con = psycopg.connect(**settings.parameters())
            self._con.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            self._con.read_only = True

    def rows(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of a statement. Raises SourceError, JobError."""
        with told(self.settings):
            return self._con.execute(query.encode(), parameters).fetchall()

    def described(self, query: str) -> list[tuple[int, int]]:
        """The type and its modifier of each column of a query. Raises SourceError."""
        done = self._run(query)
        return [(done.ftype(column), done.fmod(column)) for column in range(done.nfields)]

    def texts(self, query: str) -> Iterator[list[bytes | None]]:
        """The rows as the server writes them: each value's text, None for NULL. Raises SourceError."""
        self._run(f"DECLARE texts NO SCROLL CURSOR FOR {query}")
        try:
            while True:
                found = self._run(f"FETCH {FETCHED} FROM texts")
                for row in range(found.ntuples):
                    yield [found.get_value(row, column) for column in range(found.nfields)]
                if found.ntuples < FETCHED:
                    return
        finally:
            # Behind an error the whole transaction is over, and the cursor with it.
            with suppress(SourceError):
                self._run("CLOSE texts")

    def _run(self, query: str) -> pq.abc.PGresult:
        done = self._con.pgconn.exec_(query.encode())
        if done.status not in (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK):
            said = done.error_message.decode(errors="replace").strip()
            raise SourceError(f"Postgres at {self.settings.where}: {said}")
        return done

    def close(self) -> None:
        self._con.close()


def timeline_history(settings: PostgresSettings, timeline: int) -> str:
    """The lines of history before this one, as the server keeps them. Raises SourceError."""
    with told(settings):
        con = psycopg.connect(**settings.parameters(), replication="database", autocommit=True)
        try:
            done = con.pgconn.exec_(f"TIMELINE_HISTORY {timeline}".encode())
            if done.status != pq.ExecStatus.TUPLES_OK:
                raise broken(done.error_message.decode(errors="replace").strip())
            return (done.get_value(0, 1) or b"").decode(errors="replace")
        finally:
            con.close()


def replication(settings: PostgresSettings, command: str) -> tuple[psycopg.Connection[Any], tuple[str, int]]:
    """A connection that begins to stream, with the server's cluster and timeline.

    Raises SourceError, LostOffsetsError.
    """
    with told(settings):
        con = psycopg.connect(**settings.parameters(), replication="database", autocommit=True)
        who = con.pgconn.exec_(b"IDENTIFY_SYSTEM")
        if who.status != pq.ExecStatus.TUPLES_OK:
            con.close()
            raise broken(who.error_message.decode(errors="replace").strip())
        system, timeline = (who.get_value(0, column) or b"" for column in (0, 1))
        done = con.pgconn.exec_(command.encode())
        if done.status != pq.ExecStatus.COPY_BOTH:
            said = done.error_message.decode(errors="replace").strip()
            con.close()
            raise psycopg.errors.ObjectInUse(said) if "is active" in said else broken(said)
    return con, (system.decode(), int(timeline))


def broken(said: str) -> psycopg.OperationalError:
    """What `told` makes a sentence of."""
    return psycopg.OperationalError(said)


def connection_address(con: psycopg.Connection[Any]) -> int | None:
    """Where libpq has the connection; None once it is closed."""
    address: int | None = getattr(con.pgconn, "pgconn_ptr", None)
    return address


def libpq_functions(*names: str) -> list[int]:
    """Where these functions of the libpq in use are; none where they are not to be found."""
    module = inspect.getfile(pq.PGconn)
    library = module if module.endswith((".so", ".pyd")) else find_library("pq")
    try:
        loaded = ctypes.CDLL(library)
        return [ctypes.cast(getattr(loaded, name), ctypes.c_void_p).value or 0 for name in names]
    except (OSError, AttributeError, TypeError):
        return []
