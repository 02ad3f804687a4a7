"""Options of a Delta Lake target."""

from datetime import timedelta
from typing import Annotated, Final

from pydantic import Field

from ....schemas.option_values import in_schemes
from ....schemas.options import Duration, Location, Options, Texts

SCHEMES: Final = (
    *("file", "s3", "s3a", "gs", "az", "adl", "abfs", "abfss", "azure", "wasb", "wasbs"),
    *("hdfs", "viewfs", "lakefs", "memory", "uc", "http", "https"),
)
"""Of URLs that deltalake opens."""


class DeltaOptions(Options):
    """Each table is a folder below `path`, which is local or a URL; `storage_options` are deltalake's."""

    path: Annotated[Location, in_schemes(*SCHEMES)]
    storage_options: Texts = Field({})
    tombstone_retention: Duration = timedelta(days=7)
