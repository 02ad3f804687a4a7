"""What others changed in a table of a Postgres schema."""

from ..shared.drift import GONE, Drift, InspectedTable, drift_of
from . import catalog
from .client import Session


def inspect(session: Session, name: str) -> InspectedTable:
    """The table by `_millrace_tables`, against what Postgres's own catalog says."""
    table = catalog.held(session, name).table if catalog.own(session) else None
    if table is None:
        return InspectedTable()
    there = catalog.columns_there(session, table)
    if not there:
        return InspectedTable(table, (Drift("", GONE, loses=True),))
    return InspectedTable(table, drift_of(catalog.without_companions(there), catalog.columns_left(table)))
