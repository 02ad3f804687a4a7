"""What others changed in a table of a MySQL database."""

from ..shared.drift import GONE, Drift, InspectedTable, drift_of
from . import catalog
from .client import Session
from .columns import physical


def inspect(session: Session, name: str) -> InspectedTable:
    """The table by `_millrace_tables`, against what MySQL's own catalog says; a growth that has begun is no drift."""
    known = catalog.known(session, name) if catalog.own(session) else None
    if known is None or known.table is None:
        return InspectedTable()
    there = catalog.columns_there(session, physical(name))
    if not there:
        return InspectedTable(known.table, (Drift("", GONE, loses=True),))
    found, left = catalog.without_companions(there), catalog.columns_left(session, known.table)
    if known.growing is not None:
        grown = catalog.columns_left(session, known.growing)
        found = {
            column: left.get(column, kind) if grown.get(column) == kind else kind for column, kind in found.items()
        }
        found = {column: kind for column, kind in found.items() if column in left or column not in grown}
    return InspectedTable(known.table, drift_of(found, left))
