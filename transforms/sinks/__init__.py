"""Targets: the contract, and the registry of those that keep it."""

from collections.abc import Mapping
from typing import Any, Final

from ...schemas.options import Options
from ...schemas.plugins import Plugins
from . import bigquery, delta, duckdb, ducklake, files, iceberg, memory, mysql, postgres
from .sink import Maintained, Sink, Staged, TableSnapshot
from .spec import SinkSpec

__all__ = ["SINKS", "Maintained", "Sink", "SinkSpec", "Staged", "TableSnapshot", "open_sink"]

SINKS: Final = Plugins(
    "millrace.sinks",
    "target.type",
    (
        *(bigquery.SPEC, delta.SPEC, duckdb.SPEC, ducklake.SPEC, files.SPEC, iceberg.SPEC, memory.SPEC),
        *(mysql.SPEC, postgres.SPEC),
    ),
)


def open_sink(kind: str, options: Options | Mapping[str, Any]) -> Sink:
    """Open a target with its options, or with a mapping as the job file's `target` holds them; secrets resolved.

    Raises JobError for options that the target cannot have, MissingExtraError.
    """
    return SINKS.find(kind).open(options)
