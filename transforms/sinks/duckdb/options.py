"""Options of a DuckDB target."""

from datetime import timedelta
from typing import Annotated

from ....schemas.options import Duration, Location, Options, Size, unless_reference


def _file(path: str) -> str:
    if not path or path.startswith(":") or "://" in path:
        raise ValueError(f"{path!r} is not a file, such as warehouse.duckdb")
    return path


class DuckDBOptions(Options):
    """`path` is the file. Beyond `memory_limit` DuckDB writes to disk. Deletes live for `tombstone_retention`."""

    path: Annotated[Location, unless_reference(_file)]
    memory_limit: Size = 512 << 20
    tombstone_retention: Duration = timedelta(days=7)
