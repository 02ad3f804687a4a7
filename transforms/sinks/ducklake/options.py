"""Options of a DuckLake target."""

from datetime import timedelta
from typing import Annotated, Final

from pydantic import AfterValidator, Field, ValidationInfo

from ....schemas.option_values import ConnectionString, in_schemes
from ....schemas.options import Duration, Location, Options, Size, Texts, has_reference, read_location
from ....schemas.suggestions import guess

IN_FILES: Final = ("sqlite", "duckdb")
CATALOGS: Final = (*IN_FILES, "postgres")
SCHEMES: Final = ("file", "s3", "gs", "gcs", "r2")


def _catalog(text: str, info: ValidationInfo) -> str:
    kind, colon, rest = text.partition(":")
    if has_reference(kind):
        return text
    if not colon or not rest or kind not in CATALOGS:
        form = "write sqlite:lake.db, duckdb:lake.ducklake or postgres:host=... dbname=..."
        raise ValueError(f"{text!r} is no catalog; {form}{guess(kind, CATALOGS)}")
    return f"{kind}:{read_location(rest, info)}" if kind in IN_FILES else text


class DuckLakeOptions(Options):
    """`catalog` is the database that knows the tables, `data_path` where their Parquet files are.

    `storage_options` are those of a secret of DuckDB for `data_path`: KEY_ID, SECRET, REGION, ENDPOINT and others.
    Older snapshots than `snapshot_retention` are forgotten, those of all tables of the lake.
    """

    catalog: Annotated[ConnectionString, AfterValidator(_catalog)]
    data_path: Annotated[Location, in_schemes(*SCHEMES)]
    storage_options: Texts = Field({})
    memory_limit: Size = 512 << 20
    tombstone_retention: Duration = timedelta(days=7)
    snapshot_retention: Duration = timedelta(days=7)
