"""A lake of DuckDB (DuckLake) as a target: Parquet files, and a catalog in a database."""

from typing import Final

from ..spec import SinkSpec
from .options import DuckLakeOptions

SPEC: Final = SinkSpec(
    name="ducklake",
    sink=f"{__name__}.sink:DuckLakeSink",
    options=DuckLakeOptions,
    extra="ducklake",
    libraries=("duckdb", "duckdb_extension_ducklake"),
    one_process=True,
)
