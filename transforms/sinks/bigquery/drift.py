"""What others changed in a table of a BigQuery data set."""

from ....schemas.model.table import Table
from ..shared.drift import GONE, Drift, InspectedTable, drift_of
from .client import Dataset
from .columns import bigquery_name
from .tables import described, wanted


def inspect(dataset: Dataset, table: Table | None) -> InspectedTable:
    """The table by `_millrace_tables`, against BigQuery's description of it."""
    if table is None:
        return InspectedTable()
    found = dataset.get(bigquery_name(table.name, "table"))
    if found is None:
        return InspectedTable(table, (Drift("", GONE, loses=True),))
    there, left = ({part.name: described(part) for part in fields} for fields in (found.schema, wanted(table)))
    return InspectedTable(table, drift_of(there, left))
