"""One table of a MySQL database in the place of another, in steps of which a crash may leave any.

First what is to be is written down in the live table's row (`swapping` in `_millrace_tables`): the name of the table
beside and the ledger. Then one RENAME TABLE moves all four relations, which MySQL does whole or not at all. Then one
transaction writes the columns and the ledger. Whoever opens the table in between ends this where the relations were
moved, and else forgets it.
"""

import json
from typing import Final

from ....schemas.errors import TableError, TransientSinkError
from ....schemas.model.change import PREFIX
from ..shared.ledger import JobLedger, LedgerChange, from_rows, to_rows
from ..shared.resync import Swap, handed_over
from . import catalog, ledger
from .catalog import LEDGER, TABLES
from .client import Session
from .columns import physical

OLD: Final = f"{PREFIX}old_"


def jobs(session: Session, name: str) -> tuple[str, ...]:
    """The jobs that have a ledger of the table, sorted."""
    rows = session.run(f"SELECT DISTINCT job FROM {session.bound(LEDGER)} WHERE table_name = %s", [name])
    return tuple(sorted(row[0] for row in rows))


def swap(session: Session, wanted: Swap) -> None:
    """Under the lock of the live table, neither of which is growing. Raises LedgerGapError, TableError."""
    live, built = catalog.registered(session, wanted.table), catalog.known(session, wanted.beside).table
    if built is None:
        raise TableError(f"table {wanted.table}: {wanted.beside} has no rows; nothing was swapped")
    before = JobLedger() if wanted.lost else ledger.read(session, wanted.job, wanted.table)
    after = handed_over(wanted, before, ledger.read(session, wanted.job, wanted.beside))
    note = json.dumps({"beside": wanted.beside, "job": wanted.job, "ledger": to_rows(after)})
    changed = session.changed(
        f"UPDATE {session.bound(TABLES)} SET swapping = %s, commits = commits + 1 "
        "WHERE table_name = %s AND commits = %s",
        [note, wanted.table, live.commits],
    )
    if not changed:
        raise TransientSinkError(f"table {wanted.table}: another commit came first; run resync again")
    _move(session, wanted.table, wanted.beside)
    finish(session, wanted.table)


def finish(session: Session, name: str) -> None:
    """Do what is left of a swap of this table that has begun, under its lock."""
    note = json.loads(catalog.known(session, name).swapping or "null")
    beside = physical(note["beside"])
    if catalog.columns_there(session, beside):
        session.run(f"UPDATE {session.bound(TABLES)} SET swapping = NULL WHERE table_name = %s", [name])
        return
    after = from_rows(note["ledger"], TABLES, name)
    tables = session.bound(TABLES)
    with session.transaction():
        session.run(
            f"UPDATE {tables} t JOIN {tables} b ON b.table_name = %s SET t.relation = %s, t.`key` = b.`key`, "
            "t.columns = b.columns, t.truncated = b.truncated, t.format = b.format, t.swapping = NULL, "
            "t.commits = t.commits + 1 WHERE t.table_name = %s",
            [note["beside"], physical(name), name],
        )
        _forget(session, note["beside"])
        ledger.write(session, LedgerChange(note["job"], name, JobLedger(), after, ()))
    _drop_relations(session, [relation for _, relation in _old(name)])


def drop(session: Session, name: str) -> None:
    """The table, its tombstones, and what is known of them."""
    known = catalog.known(session, name)
    if known.table is not None or known.growing is not None:
        _drop_relations(session, [physical(name), physical(f"{catalog.TOMBSTONES}{name}")])
    with session.transaction():
        _forget(session, name)


def _old(name: str) -> list[tuple[str, str]]:
    """The live table's relations, and the names under which they wait to be dropped."""
    relations = (physical(name), physical(f"{catalog.TOMBSTONES}{name}"))
    return [(relation, physical(f"{OLD}{kind}{name}")) for relation, kind in zip(relations, ("", "t_"), strict=True)]


def _move(session: Session, name: str, beside: str) -> None:
    _drop_relations(session, [old for _, old in _old(name)])
    built = (physical(beside), physical(f"{catalog.TOMBSTONES}{beside}"))
    moves = [(live, old) for live, old in _old(name) if catalog.columns_there(session, live)]
    moves += [(there, live) for there, (live, _) in zip(built, _old(name), strict=True)]
    named = ", ".join(f"{session.name(before)} TO {session.name(after)}" for before, after in moves)
    session.run(f"RENAME TABLE {named}")


def _drop_relations(session: Session, relations: list[str]) -> None:
    session.run(f"DROP TABLE IF EXISTS {', '.join(map(session.name, relations))}")


def _forget(session: Session, name: str) -> None:
    for own in (TABLES, LEDGER):
        session.run(f"DELETE FROM {session.bound(own)} WHERE table_name = %s", [name])
