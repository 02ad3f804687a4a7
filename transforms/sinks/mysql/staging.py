"""Staged deltas in MySQL: each a table in the database, `_millrace_staged_<version>_<time>_<number>`.

Columns: `c<n>` for the n-th of the stream, `b<n>` for what is beyond its type's range, `u<n>` whether it was not sent,
and `op`, `position`, `source`. The rows stand in the order of the key, as they will in the table. The time is the
server's, in seconds, hexadecimal: tables that a killed process left are dropped after a day.
"""

import re
import uuid
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from ....schemas.errors import TableError
from ....schemas.model.change import (
    CHANGE_FIELDS,
    OP,
    POSITION,
    PREFIX,
    SOURCE,
    UNAVAILABLE,
    UNAVAILABLE_TYPE,
    masks_by_name,
    names_by_row,
)
from ....schemas.model.stored_format import STAGED_ROWS
from ....schemas.model.table import Table, conform
from ..shared.types import plain
from .catalog import ENGINE
from .client import MySqlError, Session
from .columns import POSITION_TYPE, column_type, is_bytes, is_text, key_characters, key_room, shown
from .row_text import decode, encode

STAGED: Final = f"{PREFIX}staged_"
LEFT_BEHIND_SECONDS: Final = 86_400
LEFT_ALONE: Final = frozenset({1205, 1142, 1044})
"""Numbers of errors for a table that a commit holds, and one that this user may not drop."""
STAGED_NAME: Final = re.compile(f"{STAGED}[0-9]+_([0-9a-f]{{1,12}})_[0-9a-f]{{24}}")
OWN: Final = {OP: "op", POSITION: "position", SOURCE: "source"}
OWN_TYPES: Final = {"op": "tinyint NOT NULL", "position": f"{POSITION_TYPE} NOT NULL", "source": "int NOT NULL"}


@dataclass(frozen=True, slots=True)
class Part:
    """A staged delta as a commit finds it: `relation` as SQL names it, and its columns."""

    table: Table
    relation: str
    columns: frozenset[str]

    def companions(self, letter: str) -> frozenset[str]:
        """The names of its columns of this kind, `b` or `u`."""
        return frozenset(name for name in self.columns if name[0] == letter and name[1:].isdigit())


def put(session: Session, table: Table, delta: pa.RecordBatch) -> str:
    """Stage the rows; the name of their table."""
    for name in table.key:
        if delta.column(name).null_count:
            raise TableError(
                f"table {table.name}: the key column {name!r} holds NULL, which MySQL's primary keys do not; set "
                "another `key` in the job file"
            )
    # The order makes the commit faster, no more: Arrow does not sort every type.
    with suppress(pa.ArrowNotImplementedError):
        delta = delta.take(pc.sort_indices(delta, [(name, "ascending") for name in table.key]))
    name = _new_name(session)
    _fill(session, session.name(name), table, delta)
    return name


def put_rows(session: Session, table: Table, rows: pa.RecordBatch) -> Part:
    """Rows of these columns alone, in whatever order, in a table that its owner drops."""
    relation = session.name(_new_name(session))
    return Part(table, relation, _fill(session, relation, table, rows))


def put_again(session: Session, table: Table, part: Part) -> str:
    """The rows of `part` in the columns of `table`; the name of their table."""
    batches = list(read(session, part))
    rows = pa.Table.from_batches(batches).combine_chunks().to_batches()[0]
    wanted = conform(rows, pa.schema([*table.columns, *list(rows.schema)[len(part.table.columns) :]]))
    return put(session, table, wanted)


def _new_name(session: Session) -> str:
    ((now,),) = session.run("SELECT UNIX_TIMESTAMP()")
    return f"{STAGED}{STAGED_ROWS.newest}_{now:x}_{uuid.uuid4().hex[:24]}"


def _fill(session: Session, relation: str, table: Table, delta: pa.RecordBatch) -> frozenset[str]:
    """Make the table and load the rows; its columns."""
    cells: list[encode.Cells] = []
    declared: dict[str, str] = {}
    masks = masks_by_name(delta)
    for number, field in enumerate(table.columns):
        values = delta.column(field.name)
        kind = column_type(table, field.name)
        _check_key(table, field.name, values)
        cells.append(encode.cells(values))
        declared[f"c{number}"] = session.dialect.staged(kind)
        beyond = encode.beyond(values)
        if beyond is not None:
            _refuse_key(table, field.name)
            cells.append(encode.cells(beyond))
            declared[f"b{number}"] = "bigint"
        if field.name in masks and field.name not in table.key:
            cells.append(encode.cells(pa.array(masks[field.name])))
            declared[f"u{number}"] = "tinyint NOT NULL"
    for name, own in OWN.items():
        if name in delta.schema.names:
            cells.append(encode.cells(delta.column(name)))
            declared[own] = OWN_TYPES[own]
    columns = ", ".join(f"{name} {kind}" for name, kind in declared.items())
    session.run(f"CREATE TABLE {relation} (r bigint unsigned AUTO_INCREMENT PRIMARY KEY, {columns}) {ENGINE}")
    session.load(relation, f"({', '.join(declared)})", encode.encode(cells))
    return frozenset(declared)


def _check_key(table: Table, name: str, values: pa.Array) -> None:
    """Raises TableError for a text or bytes that are longer than the key has room for."""
    kind = plain(values.type)
    if name not in table.key or not (is_text(kind) or is_bytes(kind)):
        return
    values = values.dictionary_decode() if pa.types.is_dictionary(values.type) else values
    values = values.storage if isinstance(values.type, pa.BaseExtensionType) else values
    room = key_characters(table) if is_text(kind) else key_room(table)
    longest = pc.max(pc.utf8_length(values) if is_text(kind) else pc.binary_length(values)).as_py() or 0
    if longest > room:
        raise TableError(
            f"table {table.name}: the key column {name!r} holds a value of {longest} "
            f"{'characters' if is_text(kind) else 'bytes'}; a key of MySQL has room for {room} of it: set another "
            "`key` in the job file"
        )


def _refuse_key(table: Table, name: str) -> None:
    if name in table.key:
        raise TableError(
            f"table {table.name}: the key column {name!r} holds a value beyond MySQL's range; set another `key` in the "
            "job file, or send the column as text"
        )


def find(session: Session, names: Sequence[str], tables: Sequence[Table]) -> list[Part] | None:
    """The staged tables of these names; None where one is gone, or the rows of one. Raises TerminalSinkError."""
    parts = []
    for name, table in zip(names, tables, strict=True):
        STAGED_ROWS.check(name.removeprefix(STAGED).partition("_")[0], name)
        rows = session.run(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = %s",
            [session.database, name],
        )
        if not rows:
            return None
        parts.append(Part(table, session.name(name), frozenset(row[0] for row in rows)))
    return parts


def read(session: Session, part: Part) -> Iterable[pa.RecordBatch]:
    """The staged rows, with Millrace's columns and what was not sent."""
    fields = {f"c{number}": field for number, field in enumerate(part.table.columns)}
    fields |= {OWN[field.name]: field for field in CHANGE_FIELDS}
    more = [name for letter in "bu" for name in sorted(part.columns) if name in part.companions(letter)]
    names = [*fields, *more]
    chosen = [shown(fields[name].type, name) if name in fields else name for name in names]
    for answer in session.answer(f"SELECT {', '.join(chosen)} FROM {part.relation} ORDER BY r", len(names)):
        found = dict(zip(names, answer, strict=True))
        columns = [decode.column(field.type, found[name], found.get(f"b{name[1:]}")) for name, field in fields.items()]
        schema = pa.schema(list(fields.values()))
        masks = {
            fields[f"c{name[1:]}"].name: decode.column(pa.bool_(), found[name]).to_numpy(zero_copy_only=False)
            for name in more
            if name[0] == "u"
        }
        if masks:
            columns.append(names_by_row(masks, len(columns[0])))
            schema = schema.append(pa.field(UNAVAILABLE, UNAVAILABLE_TYPE))
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


def drop(session: Session, names: Iterable[str]) -> None:
    """Drop staged tables; those that are gone, or that a commit holds, are left."""
    for name in names:
        try:
            session.run(f"DROP TABLE IF EXISTS {session.name(name)}")
        except MySqlError as error:
            if error.args[0] not in LEFT_ALONE:
                raise


def left_behind(session: Session) -> list[str]:
    """Staged tables of more than a day ago, by the server's clock."""
    rows = session.run(
        "SELECT table_name, UNIX_TIMESTAMP() FROM information_schema.tables WHERE table_schema = %s "
        "AND table_name LIKE %s",
        [session.database, STAGED.replace("_", r"\_") + "%"],
    )
    times = [(name, STAGED_NAME.fullmatch(name), now) for name, now in rows]
    return [name for name, found, now in times if found and int(found[1], 16) < now - LEFT_BEHIND_SECONDS]
