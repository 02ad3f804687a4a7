"""DuckLake: an embedded lake that people can read while it is written."""

import hashlib
import logging
import os
import shlex
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from ....schemas.errors import SinkError, TableError
from ....schemas.model.ledger import Account, Commit
from ....schemas.model.table import Table
from .. import Staged
from ..shared.duckdb_tables.catalog import quote
from ..shared.duckdb_tables.sink import DuckDBTables
from ..shared.staging import Staging
from ..shared.staging_folders import LocalFolder
from .lake import LAKE, Lake
from .options import IN_FILES, DuckLakeOptions

LOGGER: Final = logging.getLogger("millrace")
COMMITS_BETWEEN: Final = 32


class DuckLakeSink(DuckDBTables):
    """Tables of a lake; deltas are staged beside a catalog that is a file, else in the folder of temporary files.

    A commit is one snapshot of the lake. After each 32 of them a table is maintained.
    """

    def __init__(self, options: DuckLakeOptions) -> None:
        self._lake, self._options = Lake(options), options
        self._commits: Counter[str] = Counter()
        super().__init__(self._lake, Staging(LocalFolder(_staging(options))), options.tombstone_retention)

    def commit(self, table: Table, staged: Sequence[Staged], commit: Commit) -> tuple[Account, ...]:
        """Apply rows, truncate and ledger in one snapshot; after another writer's commit, again on top of it."""
        accounts = super().commit(table, staged, commit)
        self._commits[table.name] += 1
        if self._commits[table.name] % COMMITS_BETWEEN == 0:
            try:
                self._lake.maintain(table.name)
            except SinkError as error:
                LOGGER.warning("table %s: its maintenance is put off: %s", table.name, error)
        return accounts

    def maintain(self, table: str) -> Mapping[str, int]:
        """Merge small files, forget snapshots beyond the retention, and delete the files that only they need."""
        if table not in self.tables():
            raise TableError(f"{self._lake.place} has no table {table!r} of Millrace")
        return self._lake.maintain(table)

    def rest(self) -> None:
        """Let go of the catalog until the next commit: one that is a DuckDB file can then be opened by others."""
        self._lake.close()

    def describe(self, table: str) -> str:
        """A command for DuckDB's shell."""
        attach = f"ATTACH 'ducklake:{self._lake.place}' AS {LAKE}; FROM {LAKE}.{quote(table)}"
        return f"duckdb -c {shlex.quote(attach)}"


def _staging(options: DuckLakeOptions) -> str:
    kind, _, place = options.catalog.partition(":")
    if kind in IN_FILES:
        return f"{os.path.abspath(place)}.staging"
    named = hashlib.sha256(f"{options.catalog}\n{options.data_path}".encode()).hexdigest()[:16]
    return os.path.join(tempfile.gettempdir(), f"millrace-ducklake-{os.getuid()}-{named}.staging")
