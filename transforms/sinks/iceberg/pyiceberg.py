"""What the Iceberg target uses of pyiceberg: no other package imports it, and private names stand here alone.

pyiceberg is held to one minor version. It writes no delete manifests and has no class for them: `DeleteManifestWriter`
overrides two members of its writer for data manifests. Snapshots are committed by `Catalog.commit_table` with updates
and requirements that are built here, not by pyiceberg's transactions: these add files without looking whether another
writer has changed the rows, apply all updates to the whole metadata several times, and delete files of a commit whose
outcome they do not know.
"""

from typing import Any

import sqlalchemy.exc
from pyiceberg import types
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.exceptions import (
    AuthorizationExpiredError,
    BadRequestError,
    CommitFailedException,
    CommitStateUnknownException,
    ForbiddenError,
    NamespaceAlreadyExistsError,
    NoSuchNamespaceError,
    NoSuchTableError,
    NotInstalledError,
    OAuthError,
    RESTError,
    TableAlreadyExistsError,
    UnauthorizedError,
    ValidationError,
    WaitingForLockException,
)
from pyiceberg.io import load_file_io
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
    ManifestWriterV2,
    write_manifest_list,
)
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.refs import SnapshotRefType
from pyiceberg.table.snapshots import Operation, Snapshot, Summary
from pyiceberg.table.update import (
    AddPartitionSpecUpdate,
    AddSchemaUpdate,
    AddSnapshotUpdate,
    AssertRefSnapshotId,
    AssertTableUUID,
    RemoveSnapshotsUpdate,
    SetCurrentSchemaUpdate,
    SetDefaultSpecUpdate,
    SetPropertiesUpdate,
    SetSnapshotRefUpdate,
)
from pyiceberg.transforms import parse_transform
from pyiceberg.typedef import Record
from pyiceberg.types import NestedField

try:
    from botocore.exceptions import BotoCoreError, ClientError
except ImportError:  # no Glue without boto3

    class BotoCoreError(Exception):  # type: ignore[no-redef]
        """Stands for boto3's where there is none."""

    class ClientError(Exception):  # type: ignore[no-redef]
        """Stands for boto3's where there is none."""


try:
    from hive_metastore.ttypes import InvalidOperationException
    from thrift.Thrift import TException
except ImportError:  # no Hive without thrift

    class InvalidOperationException(Exception):  # type: ignore[no-redef]
        """Stands for the metastore's where there is no thrift."""

    class TException(Exception):  # type: ignore[no-redef]
        """Stands for thrift's where there is none."""


DATABASE_ERRORS = (sqlalchemy.exc.SQLAlchemyError,)
DatabaseError = sqlalchemy.exc.DBAPIError
DatabaseBusy = (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError)

__all__ = [
    "DATABASE_ERRORS", "AddPartitionSpecUpdate", "AddSchemaUpdate", "AddSnapshotUpdate", "AssertRefSnapshotId",
    "AssertTableUUID", "AuthorizationExpiredError", "BadRequestError", "BotoCoreError", "Catalog", "ClientError",
    "CommitFailedException", "CommitStateUnknownException", "DataFile", "DataFileContent", "DatabaseBusy",
    "DatabaseError", "DeleteManifestWriter", "FileFormat", "ForbiddenError", "IcebergTable",
    "InvalidOperationException", "ManifestContent",
    "ManifestEntry", "ManifestEntryStatus", "ManifestFile", "ManifestWriterV2", "NamespaceAlreadyExistsError",
    "NestedField", "NoSuchNamespaceError", "NoSuchTableError", "NotInstalledError", "OAuthError", "Operation",
    "PartitionField", "PartitionSpec", "PyArrowFileIO", "RESTError", "Record", "RemoveSnapshotsUpdate", "Schema",
    "SetCurrentSchemaUpdate", "SetDefaultSpecUpdate", "SetPropertiesUpdate", "SetSnapshotRefUpdate", "Snapshot",
    "SnapshotRefType", "Summary", "TException", "TableAlreadyExistsError", "UnauthorizedError", "ValidationError",
    "WaitingForLockException", "load_catalog", "load_file_io", "parse_transform", "types", "write_manifest_list",
]  # fmt: skip


class DeleteManifestWriter(ManifestWriterV2):
    """A writer of manifests whose entries are position-delete files."""

    def content(self) -> ManifestContent:
        return ManifestContent.DELETES

    @property
    def _meta(self) -> dict[str, Any]:
        return {**super()._meta, "content": "deletes"}
