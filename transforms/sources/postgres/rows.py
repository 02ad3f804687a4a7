"""The rows of a table at one moment, for the proof. It shares nothing with the reading of copies and of the log."""

import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Final

from ....schemas.errors import SourceError
from ....schemas.model.unrepresentable import text_name
from ..rounds import begins
from .client import STREAM, PostgresSettings, Session, Snapshot
from .row_values import PartlyUnfit, Unfit, reader

COLUMNS: Final = """
SELECT attname FROM pg_attribute
WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum
"""
NAMED: Final = """
SELECT format_type(oid, %s), format_type(typelem, NULL),
  typelem <> 0 AND (SELECT e.typtype = 'd' FROM pg_type e WHERE e.oid = t.typelem)
FROM pg_type t WHERE oid = %s
"""
SHOWN: Final = {"money": "numeric", "money[]": "numeric[]", "hstore": "json"}
"""What is asked for in place of a type: the server converts it."""
KEY: Final = """
SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
WHERE i.indrelid = %s::regclass AND i.indisprimary
"""
WAITING: Final = """
SELECT substring(data FOR 9) FROM pg_logical_slot_peek_binary_changes(
  %s, NULL, NULL, 'proto_version', '1', 'publication_names', %s)
"""
BEGIN, TRUNCATE, OF_A_ROW = ord("B"), ord("T"), frozenset(b"IUD")


@dataclass(frozen=True, slots=True)
class TableRows:
    """One table as one snapshot of the server shows it; keeps the contract of `sources.database.RowsAtMoment`.

    `table` is quoted. `columns` are by name the types, as `format_type` writes them. `where` chooses the rows that the
    job copies.
    """

    table: str
    key: tuple[str, ...]
    columns: Mapping[str, str]
    where: str
    _snapshot: Snapshot

    def rows(self) -> Iterator[dict[str, Any]]:
        read = {name: reader(kind.replace("money", "cents")) for name, kind in self.columns.items()}
        listed = ", ".join(_shown(name, kind) for name, kind in self.columns.items())
        for texts in self._snapshot.texts(f"SELECT {listed} FROM {self.table}{self.where}"):
            yield _row(read, texts)

    def ahead(self, since: int) -> int:
        settings = self._snapshot.settings
        if settings.full and begins(since):
            return 0
        if settings.full or since < STREAM:
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
        names = [one for (one,) in snapshot.rows(COLUMNS, (quoted,))]
        kinds = snapshot.described(f"SELECT {', '.join(map(_quoted, names))} FROM {quoted} LIMIT 0")
        columns = {one: _named(snapshot, *kind) for one, kind in zip(names, kinds, strict=True)}
        key = tuple(one for (one,) in snapshot.rows(KEY, (quoted,)))
        condition = settings.copies.where(table) if settings.full else None
        where = "" if condition is None else f" WHERE {condition}"
        yield TableRows(quoted, key, columns, where, snapshot)


def _named(snapshot: Snapshot, number: int, modifier: int) -> str:
    """A type's name with its modifier; the server shows a domain as what it is of, but not in an array."""
    ((name, item, of_domain),) = snapshot.rows(NAMED, (modifier, number))
    if not of_domain:
        return str(name)
    ((of_item, its_modifier),) = snapshot.described(f"SELECT NULL::{item} LIMIT 0")
    return f"{_named(snapshot, of_item, its_modifier)}[]"


def _shown(name: str, kind: str) -> str:
    shown = SHOWN.get(kind.rpartition(".")[2])
    return _quoted(name) if shown is None else f"{_quoted(name)}::{shown}"


def _row(read: Mapping[str, Callable[[str], Any]], texts: list[bytes | None]) -> dict[str, Any]:
    """Plain values by column; where a value fits no target's type, NULL, and its text in the column beside."""
    row: dict[str, Any] = {}
    for (name, convert), raw in zip(read.items(), texts, strict=True):
        text = None if raw is None else raw.decode()
        try:
            row[name] = None if text is None else convert(text)
        except Unfit as unfit:
            row[name], row[text_name(name)] = unfit.values if isinstance(unfit, PartlyUnfit) else None, str(unfit)
    return row


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
