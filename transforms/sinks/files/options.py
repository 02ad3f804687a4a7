"""Options of change logs in files."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from ....schemas.option_values import in_schemes
from ....schemas.options import Location, Options, Texts


class LogFormat(StrEnum):
    """What the files of a log are."""

    PARQUET = "parquet"
    AVRO = "avro"


class FilesOptions(Options):
    """Logs are folders below `path`, which is local or a URL; `storage_options` are those of its store."""

    path: Annotated[Location, in_schemes("file", "gs", "hdfs", "s3")]
    format: LogFormat = LogFormat.PARQUET
    storage_options: Texts = Field({})
