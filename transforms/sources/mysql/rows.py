"""The rows of a table at one moment, for the proof. It shares nothing with the reading of copies and of the log."""

import re
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Final

from ....schemas.errors import LostOffsetsError, SourceError
from ....schemas.model.unrepresentable import text_name
from ..rounds import begins
from .client import BinlogDump, MySqlSettings, Session, Snapshot

COLUMNS: Final = (
    "SELECT COLUMN_NAME, DATA_TYPE, COLUMN_TYPE FROM information_schema.COLUMNS "
    "WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s ORDER BY ORDINAL_POSITION"
)
KEY: Final = (
    "SELECT COLUMN_NAME FROM information_schema.KEY_COLUMN_USAGE "
    "WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s AND CONSTRAINT_NAME = 'PRIMARY' ORDER BY ORDINAL_POSITION"
)
INTEGERS: Final = ("tinyint", "smallint", "mediumint", "int", "bigint", "year")
RAW: Final = ("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "vector")
FILE_BITS: Final = 36
MOST: Final = (1 << 63) - 1
DAY_SECONDS: Final = 86_400
HEAD: Final = struct.Struct("<IBIIIH")
QUERY, TABLE_MAP, PAYLOAD, OPEN_ENDED = 2, 19, 40, (23, 24, 25, 30, 31, 32, *range(166, 172))
HEARTBEATS, ARTIFICIAL = (27, 41), 0x20
"""Events that stand in no file."""
CLOCK: Final = re.compile(r"(-?)(\d+):(\d\d):(\d\d)(?:\.(\d+))?")


class _Unfit(Exception):
    """A value that no target's type has; its text is the argument."""


@dataclass(frozen=True, slots=True)
class TableRows:
    """One table as one snapshot of the server shows it; keeps the contract of `sources.database.RowsAtMoment`.

    `columns` are by name the type and how it was declared.
    """

    database: str
    table: str
    key: tuple[str, ...]
    columns: Mapping[str, tuple[str, str]]
    _snapshot: Snapshot

    def rows(self) -> Iterator[dict[str, Any]]:
        read = {name: _reader(*kind) for name, kind in self.columns.items()}
        listed = ", ".join(
            f"{_quoted(name)} * 1e0" if kind == "float" else _quoted(name) for name, (kind, _) in self.columns.items()
        )
        settings = self._snapshot.settings
        condition = settings.copies.where(f"{self.database}.{self.table}") if settings.full else None
        where = "" if condition is None else f" WHERE {condition}"
        for values in self._snapshot.each(
            f"SELECT {listed} FROM {_quoted(self.database)}.{_quoted(self.table)}{where}"
        ):
            yield _row(read, values)

    def ahead(self, since: int) -> int:
        """Events of rows are counted, and statements that name the table: each may change several rows."""
        settings, number = self._snapshot.settings, since >> FILE_BITS
        if settings.full and begins(since):
            return 0
        if settings.full or not number:
            raise SourceError(f"the copy of {self.database}.{self.table} has not ended yet: run the job first")
        with closing(Session(settings)) as session:
            files = [name for name, *_ in session.rows("SHOW BINARY LOGS") if int(name.rpartition(".")[2]) == number]
        if not files:
            raise LostOffsetsError(f"the server has the file {number:06d} of its binlog no more")
        counter = _Counter(self.database.encode(), self.table.encode(), since)
        with closing(BinlogDump(settings, files[0], 4, block=False)) as dump:
            while not dump.ended:
                counter.take(dump.events(1 << 22, 10.0))
        return counter.count


@contextmanager
def rows_at_moment(settings: MySqlSettings, table: str) -> Iterator[TableRows]:
    """The table `DATABASE.TABLE` in one snapshot, until the end. Raises SourceError, JobError."""
    database, _, name = table.partition(".")
    with closing(Session(settings)) as session:
        columns = {one: (kind, declared) for one, kind, declared in session.rows(COLUMNS, (database, name))}
        key = tuple(one for (one,) in session.rows(KEY, (database, name)))
    with closing(Snapshot(settings)) as snapshot:
        yield TableRows(database, name, key, columns, snapshot)


@dataclass(slots=True)
class _Counter:
    """Counts what changes a table from an offset on."""

    database: bytes
    table: bytes
    since: int
    count: int = 0
    _file: int = 0
    _last: int = 0
    _numbers: frozenset[bytes] = frozenset()

    def take(self, data: bytes) -> None:
        """Whole events."""
        p = 0
        while p < len(data):
            _, kind, _, size, end, flags = HEAD.unpack_from(data, p)
            body = data[p + HEAD.size : p + size]
            after = self._last if kind in HEARTBEATS or flags & ARTIFICIAL else self._after(end)
            if kind == 4:
                name = re.match(rb"[^\0]*?\.(\d+)", body[8:])
                self._file, self._last = int(name[1]) if name else self._file, 0
            elif kind == TABLE_MAP:
                self._describe(body)
            elif (self._file << FILE_BITS | after) > self.since:
                self._count(kind, body)
            p += size

    def _after(self, end: int) -> int:
        """Where an event ends: the log tells 32 bits, and a file with a large transaction is longer."""
        if not end:
            return self._last
        found = end + (self._last >> 32 << 32)
        self._last = found if found >= self._last else found + (1 << 32)
        return self._last

    def _describe(self, body: bytes) -> None:
        named = bytes([len(self.database)]) + self.database + b"\0" + bytes([len(self.table)]) + self.table + b"\0"
        number = frozenset([body[:6]])
        self._numbers = self._numbers | number if body[8:].startswith(named) else self._numbers - number

    def _count(self, kind: int, body: bytes) -> None:
        if kind in OPEN_ENDED:
            self.count += body[:6] in self._numbers
        elif kind == QUERY:
            # Names are written in any case where lower_case_table_names is set.
            self.count += self.table.lower() in body[13:].lower() and not body.rstrip(b"\0")[:-4].endswith(
                (b"\0BEGIN", b"\0COMMIT")
            )
        elif kind == PAYLOAD:
            # What is in a compressed transaction is not looked at: it may be of the table.
            self.count += 1


def _row(read: Mapping[str, Callable[[bytes], Any]], values: tuple[bytes | None, ...]) -> dict[str, Any]:
    """Plain values by column; where a value fits no target's type, NULL, and its text in the column beside."""
    row: dict[str, Any] = {}
    for (name, convert), raw in zip(read.items(), values, strict=True):
        try:
            row[name] = None if raw is None else convert(raw)
        except _Unfit as odd:
            row[name], row[text_name(name)] = None, str(odd)
    return row


def _reader(kind: str, declared: str) -> Callable[[bytes], Any]:
    """From a value as the server writes it to a plain value; moments stay text in the form of ISO 8601."""
    if kind in INTEGERS:
        return _whole
    if kind in ("float", "double"):
        return float if kind == "double" else _single
    if kind == "decimal":
        return lambda raw: Decimal(raw.decode())
    if kind == "bit":
        return (lambda raw: raw != b"\0") if declared == "bit(1)" else lambda raw: raw[::-1]
    if kind in RAW:
        return bytes
    if kind in ("date", "datetime", "timestamp"):
        return lambda raw: _moment(raw.decode(), "Z" if kind == "timestamp" else "")
    if kind == "time":
        return lambda raw: _clock(raw.decode())
    if declared.startswith(("geom", "point", "line", "polygon", "multi")):
        return lambda raw: raw[4:]
    return lambda raw: raw.decode()


def _whole(raw: bytes) -> int:
    value = int(raw)
    if value > MOST:
        raise _Unfit(raw.decode())
    return value


def _single(raw: bytes) -> float:
    (value,) = struct.unpack("f", struct.pack("f", float(raw)))
    return float(value)


def _moment(text: str, zone: str) -> str:
    day, _, clock = text.partition(" ")
    try:
        date.fromisoformat(day)
    except ValueError:
        shown = clock.rstrip("0").rstrip(".") if "." in clock else clock
        raise _Unfit(f"{day}T{shown}{zone}" if clock else day) from None
    return text


def _clock(text: str) -> str:
    found = CLOCK.fullmatch(text)
    if found is None:
        raise _Unfit(text)
    sign, hours, minutes, seconds, fraction = found.groups()
    some = any(int(part) for part in (hours, minutes, seconds, fraction or "0"))
    if int(hours) < DAY_SECONDS // 3600 and not (sign and some):
        return text.removeprefix("-")
    shown = (fraction or "").rstrip("0")
    raise _Unfit(f"{sign}{int(hours):02d}:{minutes}:{seconds}" + (f".{shown}" if shown else ""))


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
