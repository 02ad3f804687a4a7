"""A DuckDB file as a target."""

from typing import Final

from ..spec import SinkSpec
from .options import DuckDBOptions

SPEC: Final = SinkSpec(
    name="duckdb",
    sink=f"{__name__}.sink:DuckDBSink",
    options=DuckDBOptions,
    libraries=("duckdb",),
    one_process=True,
)
