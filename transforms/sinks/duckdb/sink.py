"""DuckDB: a warehouse in one file, the default target."""

import os
import shlex

from ..shared.duckdb_tables.catalog import quote
from ..shared.duckdb_tables.sink import DuckDBTables
from ..shared.staging import Staging
from ..shared.staging_folders import LocalFolder
from .file import DuckDBFile
from .options import DuckDBOptions


class DuckDBSink(DuckDBTables):
    """Tables in the DuckDB file `path`; deltas are staged in the folder `<path>.staging` beside it.

    One process at a time can have the file open: it is opened at the first use and closed by `close`.
    """

    def __init__(self, options: DuckDBOptions) -> None:
        self._path = os.path.abspath(options.path)
        staging = Staging(LocalFolder(f"{self._path}.staging"))
        super().__init__(DuckDBFile(self._path, options.memory_limit), staging, options.tombstone_retention)

    def describe(self, table: str) -> str:
        """A command for DuckDB's shell."""
        return f"duckdb {shlex.quote(self._path)} {shlex.quote(f'FROM {quote(table)}')}"

    def rest(self) -> None:
        """Close the file, so that others can open it; it is opened again at the next use."""
        self._database.close()
