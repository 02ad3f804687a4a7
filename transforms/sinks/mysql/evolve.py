"""Growth and renames of a MySQL table, which no transaction can hold, in steps of which a crash may leave any.

First the columns that the table is to have are written down (`growing` in `_millrace_tables`). Then the tombstones and
last the table are changed, each by one ALTER TABLE, which MySQL does whole or not at all. Then these columns are those
of the table. Whoever opens a table whose growth has not ended does the rest of it, from what is there.

Values that MySQL does not convert itself are read, cast by Arrow and written into a column beside, which takes the
place of the old one in the ALTER TABLE. Its comment names the growth: so it is seen that it was done.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from ....schemas.errors import IncompatibleSchemaError
from ....schemas.merging.renaming import with_names
from ....schemas.model.table import Table, cast
from . import catalog, staging
from .catalog import GROWN, TABLES, Kept, Known
from .client import MySqlError, Session
from .columns import BEYOND, column_type, converts, is_limited, physical, quote, shown
from .row_text import decode
from .server_errors import VALUES

GROWN_BEYOND: Final = f"{GROWN}beyond_"


@dataclass(frozen=True, slots=True)
class Growth:
    """Of a relation with these columns `there`, from the columns of `old` to those of `new`; `mark` names it."""

    session: Session
    relation: str
    old: Table
    new: Table
    there: Mapping[str, str]
    mark: str

    def named(self, number: int) -> str:
        """The name that the n-th column has in the relation."""
        before, after = physical(self.old.columns.names[number]), physical(self.new.columns.names[number])
        return before if before in self.there else after

    def companion(self, number: int) -> str | None:
        """The column that holds what is beyond the range of the n-th."""
        return f"{BEYOND}{number}" if f"{BEYOND}{number}" in self.there else None

    @property
    def keys(self) -> Table:
        """The key's columns as they are now."""
        fields = [self.old.columns.field(name) for name in self.old.key]
        return Table(self.old.name, self.old.key, pa.schema(fields))


def grow(session: Session, known: Known, new: Table) -> Kept:
    """Make the table, or let it grow to these columns; the table as it is then.

    Raises IncompatibleSchemaError, TableError, TerminalSinkError where the target has another table of this name.
    """
    catalog.check_names(new)
    if known.table is None:
        catalog.check_free(session, new)
    else:
        kept = catalog.untouched(session, known.table)
        if known.table.columns.equals(new.columns):
            return kept
    _begin(session, new)
    return finish(session, known.name)


def rename(session: Session, table: Table, names: Mapping[str, str]) -> None:
    """Rename columns that are not of the key. Raises TerminalSinkError where others changed the table."""
    renamed = with_names(table, names)
    catalog.check_names(renamed)
    catalog.untouched(session, table)
    _begin(session, renamed)
    finish(session, table.name)


def finish(session: Session, name: str) -> Kept:
    """Do what is left of a growth that has begun, under the lock of the table; the table as it is then.

    Raises IncompatibleSchemaError where a value does not fit: the table is as it was then.
    """
    known = catalog.known(session, name)
    assert known.growing is not None
    if known.table is None:
        catalog.create(session, known.growing)
    else:
        try:
            _change(session, known.table, known.growing)
        except (IncompatibleSchemaError, MySqlError) as error:
            if isinstance(error, MySqlError) and error.args[0] not in VALUES:
                raise
            _give_up(session, known.table)
            raise _too_wide(known.table, error) from error
    session.run(
        f"UPDATE {session.bound(TABLES)} SET columns = growing, growing = NULL WHERE table_name = %s", [known.name]
    )
    return catalog.untouched(session, known.growing)


def _begin(session: Session, new: Table) -> None:
    session.run(
        f"UPDATE {session.bound(TABLES)} SET relation = %s, `key` = %s, growing = %s WHERE table_name = %s",
        [physical(new.name), json.dumps(new.key), new.columns.serialize().to_pybytes(), new.name],
    )


def _too_wide(table: Table, error: Exception) -> IncompatibleSchemaError:
    said = error.args[1] if isinstance(error, MySqlError) else error
    return IncompatibleSchemaError(
        f"table {table.name}: a value in the table does not fit the wider type ({said}); write to a new table"
    )


def _give_up(session: Session, table: Table) -> None:
    for relation in (Kept(table).relation, Kept(table).tombstones):
        _drop_grown(session, relation)
    session.run(f"UPDATE {session.bound(TABLES)} SET growing = NULL WHERE table_name = %s", [table.name])


def _drop_grown(session: Session, relation: str) -> None:
    left = [name for name in catalog.columns_there(session, relation) if name.startswith(GROWN)]
    if left:
        drops = ", ".join(f"DROP COLUMN {quote(name)}" for name in left)
        session.run(f"ALTER TABLE {session.name(relation)} {drops}")


def _change(session: Session, old: Table, new: Table) -> None:
    """Bring both relations to the new columns: what may fail for a value first, then one ALTER TABLE each."""
    mark = hashlib.blake2b(new.columns.serialize(), digest_size=8).hexdigest()
    growths = []
    for relation, columns in ((Kept(old).tombstones, [*old.key]), (Kept(old).relation, new.columns.names)):
        _drop_grown(session, relation)
        growths.append((_growth(session, relation, old, new, mark), columns))
    changes = [(growth, _actions(growth, columns)) for growth, columns in growths]
    for growth, actions in changes:
        if actions:
            session.run(f"ALTER TABLE {session.name(growth.relation)} {', '.join(actions)}")


def _growth(session: Session, relation: str, old: Table, new: Table, mark: str) -> Growth:
    return Growth(session, relation, old, new, catalog.columns_there(session, relation), mark)


def _actions(growth: Growth, columns: list[str]) -> list[str]:
    """What ALTER TABLE has to do for these columns."""
    actions, old, new, session = [], growth.old, growth.new, growth.session
    rewritten = set(_marked(growth))
    for number, field in enumerate(new.columns):
        of_old = old.columns.field(number) if number < len(old.columns) else None
        if field.name not in columns and (of_old is None or of_old.name not in columns):
            continue
        name = physical(field.name)
        definition = catalog.definition(session, new, field.name)
        if of_old is None:
            actions += [] if name in growth.there else [f"ADD COLUMN {definition}"]
            continue
        stored = growth.named(number)
        if _needs_arrow(of_old.type, field.type, growth.companion(number)):
            actions += [] if stored in rewritten else _rewrite(growth, number, stored)
        elif stored != name or growth.there[stored] != _spelt(session, new, field.name):
            actions.append(f"CHANGE COLUMN {quote(stored)} {definition}")
    if any(action.startswith("DROP COLUMN") for action in actions) and _is_of_key(growth, actions):
        keys = ", ".join(quote(physical(name)) for name in new.key)
        actions = ["DROP PRIMARY KEY", *actions, f"ADD PRIMARY KEY ({keys})"]
    return actions


def _is_of_key(growth: Growth, actions: list[str]) -> bool:
    dropped = {f"DROP COLUMN {quote(physical(name))}" for name in growth.new.key}
    return any(action in dropped for action in actions)


def _spelt(session: Session, table: Table, name: str) -> str:
    """The type as the catalog spells it."""
    kind = column_type(table, name)
    return session.dialect.json if kind == "json" else kind


def _needs_arrow(old: pa.DataType, new: pa.DataType, companion: str | None) -> bool:
    same = old.equals(new) or pa.types.is_floating(old)
    return not converts(old, new) or (companion is not None and not same)


def _marked(growth: Growth) -> list[str]:
    """The columns that this growth has put in the place of others already."""
    rows = growth.session.run(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = %s "
        "AND column_comment = %s",
        [growth.session.database, growth.relation, growth.mark],
    )
    return [row[0] for row in rows]


def _rewrite(growth: Growth, number: int, stored: str) -> list[str]:
    """Write the column's values as those of the new type beside it; what ALTER TABLE has to do then."""
    session, name = growth.session, growth.new.columns.names[number]
    kind = session.dialect.declared(column_type(growth.new, name))
    limited = is_limited(growth.new.columns.field(number).type)
    grown, grown_beyond = quote(f"{GROWN}{number}"), quote(f"{GROWN_BEYOND}{number}")
    more = [f"ADD COLUMN {grown} {kind}", *([f"ADD COLUMN {grown_beyond} bigint"] if limited else [])]
    session.run(f"ALTER TABLE {session.name(growth.relation)} {', '.join(more)}")
    for rows in _converted(growth, number, stored):
        _put_beside(growth, number, rows)
    companion = growth.companion(number)
    null = "NOT NULL" if name in growth.new.key else "NULL"
    actions = [
        f"DROP COLUMN {quote(stored)}",
        f"CHANGE COLUMN {grown} {quote(physical(name))} {kind} {null} COMMENT '{growth.mark}'",
    ]
    actions += [] if companion is None else [f"DROP COLUMN {quote(companion)}"]
    kept = companion is not None and limited
    if limited:
        beyond = quote(f"{BEYOND}{number}")
        actions.append(f"CHANGE COLUMN {grown_beyond} {beyond} bigint" if kept else f"DROP COLUMN {grown_beyond}")
    return actions


def _converted(growth: Growth, number: int, stored: str) -> Iterator[pa.RecordBatch]:
    """The key and the value, of the new type, of each row that has one: over a connection of its own."""
    keys, old = growth.keys.columns, growth.old.columns.field(number).type
    new = growth.new.columns.field(number).type
    companion = growth.companion(number)
    names = [growth.named(growth.old.columns.get_field_index(name)) for name in keys.names]
    chosen = [shown(field.type, quote(name)) for field, name in zip(keys, names, strict=True)]
    chosen += [shown(old, quote(stored)), *([] if companion is None else [quote(companion)])]
    there = " OR ".join(f"{quote(one)} IS NOT NULL" for one in (stored, companion) if one is not None)
    query = f"SELECT {', '.join(chosen)} FROM {growth.session.name(growth.relation)} WHERE {there}"
    reader = growth.session.another()
    try:
        for answer in reader.answer(query, len(chosen)):
            cells = [decode.column(field.type, fields) for field, fields in zip(keys, answer, strict=False)]
            rest = answer[len(keys) :]
            values = decode.column(old, rest[0], rest[1] if companion is not None else None)
            schema = pa.schema([*keys, pa.field(f"{GROWN}value", new)])
            yield pa.RecordBatch.from_arrays([*cells, _cast(growth, number, values)], schema=schema)
    finally:
        reader.con._force_close()


def _cast(growth: Growth, number: int, values: pa.Array) -> pa.Array:
    try:
        return cast(values, growth.new.columns.field(number).type)
    except pa.ArrowInvalid as error:
        raise IncompatibleSchemaError(str(error)) from error


def _put_beside(growth: Growth, number: int, rows: pa.RecordBatch) -> None:
    session, keys = growth.session, growth.keys
    part = staging.put_rows(session, Table(keys.name, keys.key, rows.schema), rows)
    value = len(keys.columns)
    same = " AND ".join(
        f"d.c{place} = t.{quote(growth.named(growth.old.columns.get_field_index(name)))}"
        for place, name in enumerate(keys.columns.names)
    )
    sets = [f"t.{quote(f'{GROWN}{number}')} = d.c{value}"]
    if f"b{value}" in part.columns:
        sets.append(f"t.{quote(f'{GROWN_BEYOND}{number}')} = d.b{value}")
    session.run(
        f"UPDATE {part.relation} d STRAIGHT_JOIN {session.name(growth.relation)} t ON {same} SET {', '.join(sets)}"
    )
    session.run(f"DROP TABLE {part.relation}")
