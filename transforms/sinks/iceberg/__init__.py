"""Apache Iceberg as a target."""

from typing import Final

from ..spec import SinkSpec
from .options import IcebergOptions

SPEC: Final = SinkSpec(
    name="iceberg",
    sink=f"{__name__}.sink:IcebergSink",
    options=IcebergOptions,
    extra="iceberg",
    libraries=("pyiceberg", "sqlalchemy", "thrift", "hive_metastore", "botocore"),
)
