"""The rows of a table at one moment, for the proof. It shares nothing with the reading of copies and of the log."""

import re
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from ....schemas.errors import SourceError
from ....schemas.model.unrepresentable import text_name
from .client import PostgresSettings, Session, Snapshot
from .tables import STREAM

COLUMNS: Final = """
SELECT a.attname, coalesce(b.typname, t.typname), CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_type b ON b.oid = t.typbasetype AND t.typtype = 'd'
WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
"""
KEY: Final = """
SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
WHERE i.indrelid = %s::regclass AND i.indisprimary
"""
WAITING: Final = """
SELECT substring(data FOR 9) FROM pg_logical_slot_peek_binary_changes(
  %s, NULL, NULL, 'proto_version', '1', 'publication_names', %s)
"""
BEGIN, TRUNCATE, OF_A_ROW = ord("B"), ord("T"), frozenset(b"IUD")
DAY: Final = re.compile(r"\d{4}-\d\d-\d\d")
CLOCK: Final = re.compile(r"([01]\d|2[0-3]):\d\d:\d\d(\.\d+)?")
MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?(\+00)?")


class _Unfit(Exception):
    """A value that no target's type has."""


@dataclass(frozen=True, slots=True)
class TableRows:
    """One table as one snapshot of the server shows it; keeps the contract of `sources.database.RowsAtMoment`.

    `table` is quoted. `columns` are by name the type and its modifier.
    """

    table: str
    key: tuple[str, ...]
    columns: Mapping[str, tuple[str, int]]
    _snapshot: Snapshot

    def rows(self) -> Iterator[dict[str, Any]]:
        read = {name: _reader(*kind) for name, kind in self.columns.items()}
        listed = ", ".join(map(_quoted, read))
        for texts in self._snapshot.texts(f"SELECT {listed} FROM {self.table}"):
            yield _row(read, texts)

    def ahead(self, since: int) -> int:
        settings = self._snapshot.settings
        if since < STREAM:
            raise SourceError(f"the copy of {self.table} has not ended yet: run the job first")
        ((oid,),) = self._snapshot.rows("SELECT %s::regclass::oid::bigint", (self.table,))
        count, commit = 0, 0
        with closing(Session(settings)) as session:
            for (head,) in session.each(WAITING, (settings.slot, settings.publication)):
                if head[0] == BEGIN:
                    (commit,) = struct.unpack(">Q", head[1:9])
                elif commit >= since:
                    mine = head[0] in OF_A_ROW and struct.unpack(">I", head[1:5])[0] == oid
                    count += mine or head[0] == TRUNCATE
        return count


@contextmanager
def rows_at_moment(settings: PostgresSettings, table: str) -> Iterator[TableRows]:
    """The table `SCHEMA.TABLE` in one snapshot, until the end. Raises SourceError, JobError."""
    schema, _, name = table.partition(".")
    quoted = f"{_quoted(schema)}.{_quoted(name)}"
    with closing(Snapshot(settings)) as snapshot:
        columns = {one: (kind, modifier) for one, kind, modifier in snapshot.rows(COLUMNS, (quoted,))}
        key = tuple(one for (one,) in snapshot.rows(KEY, (quoted,)))
        yield TableRows(quoted, key, columns, snapshot)


def _row(read: Mapping[str, Callable[[str], Any]], texts: list[bytes | None]) -> dict[str, Any]:
    """Plain values by column; where a value fits no target's type, NULL, and its text in the column beside."""
    row: dict[str, Any] = {}
    for (name, convert), raw in zip(read.items(), texts, strict=True):
        text = None if raw is None else raw.decode()
        try:
            row[name] = None if text is None else convert(text)
        except _Unfit:
            row[name], row[text_name(name)] = None, text
    return row


def _reader(kind: str, modifier: int) -> Callable[[str], Any]:
    """From a value's text to a plain value; moments stay text in the form of ISO 8601."""
    if kind in ("int2", "int4", "int8", "oid"):
        return int
    if kind in ("float4", "float8"):
        return float if kind == "float8" else _single
    if kind == "bool":
        return lambda text: text == "t"
    if kind == "bytea":
        return lambda text: bytes.fromhex(text[2:])
    if kind == "numeric":
        return _decimal if modifier >= 4 else lambda text: text
    forms = {"date": DAY, "time": CLOCK, "timestamp": MOMENT, "timestamptz": MOMENT}
    return _moment(forms[kind]) if kind in forms else lambda text: text


def _single(text: str) -> float:
    (value,) = struct.unpack("f", struct.pack("f", float(text)))
    return float(value)


def _decimal(text: str) -> Decimal:
    value = Decimal(text)
    if not value.is_finite():
        raise _Unfit
    return value


def _moment(form: re.Pattern[str]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if form.fullmatch(text) is None:
            raise _Unfit
        return text

    return read


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
