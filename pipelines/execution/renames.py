"""Columns that the job file renames: done in the target before anything is read."""

from collections.abc import Mapping
from functools import partial

from ...schemas.errors import TableError
from ...schemas.model.route import Route
from ...transforms.retry import retried
from ...transforms.sinks import Sink
from ...transforms.sinks.shared.renames import rename_columns
from .start_offsets import by_table


def rename_due(sink: Sink, routes: Mapping[str, Route]) -> dict[str, TableError]:
    """Rename what tables still have under old names; by table why that cannot be. Raises SinkError."""
    refused = {}
    for name, route in by_table(routes).items():
        try:
            retried(f"table {name}", partial(rename_columns, sink, name, route.renames))
        except TableError as error:
            refused[name] = error
    return refused
