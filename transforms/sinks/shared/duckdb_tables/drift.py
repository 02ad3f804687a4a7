"""What others changed in a table of a DuckDB file."""

from ..drift import GONE, Drift, InspectedTable, drift_of
from . import catalog
from .catalog import Connection


def inspect(con: Connection, name: str) -> InspectedTable:
    """The table by `_millrace_tables`, against what DuckDB's own catalog says."""
    table = catalog.held(con, name).table
    if table is None:
        return InspectedTable()
    rows = con.execute(
        "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = ? AND schema_name = current_schema()",
        [name],
    ).fetchall()
    if not rows:
        return InspectedTable(table, (Drift("", GONE, loses=True),))
    return InspectedTable(table, drift_of(dict(rows), catalog.sql_types(con, table)))
