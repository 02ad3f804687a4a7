"""The catalog of an Iceberg target: opened from pyiceberg's own properties, its errors, and commits that are known.

A commit succeeds only on top of the snapshot that it was decided on. Where its outcome is not known (a lost answer, a
time-out), the table's snapshots are searched for the commit's id; no file is deleted, whatever the outcome.
"""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final

import pyarrow.fs as pafs

from .....schemas.errors import JobError, MillraceError, TerminalSinkError, TransientSinkError
from ...shared.commit import Conflict
from ...shared.damage import intact, way_out
from ..pyiceberg import (
    CommitFailedException,
    CommitStateUnknownException,
    IcebergTable,
    NamespaceAlreadyExistsError,
    NoSuchNamespaceError,
    NoSuchTableError,
    NotInstalledError,
    PyArrowFileIO,
    TableAlreadyExistsError,
    ValidationError,
    load_catalog,
    load_file_io,
)
from ..table_format.snapshots import COMMIT, Produced
from .faults import BROKEN, REFUSED, line_of, passing, refused_by_hive
from .sqlite import check_rights, database

LOOKS: Final = (0.0, 0.5, 2.0, 5.0)
"""Seconds before each look for a commit whose answer was lost."""
NAME: Final = "default"
PROPERTIES: Final = {
    "format-version": "2",
    "write.delete.mode": "merge-on-read",
    "write.update.mode": "merge-on-read",
    "write.merge.mode": "merge-on-read",
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "20",
}


class IcebergCatalog:
    """The tables of one namespace. `properties` are pyiceberg's, with `name` for the catalog's own."""

    def __init__(self, namespace: str, properties: Mapping[str, Any]) -> None:
        given = {str(name): str(value) for name, value in properties.items()}
        self.name = given.pop("name", NAME)
        self.namespace = tuple(namespace.split("."))
        self._properties = {"py-io-impl": "pyiceberg.io.pyarrow.PyArrowFileIO", **given}
        self.warehouse = given.get("warehouse", "")
        self._lazy: Any = None

    @property
    def _catalog(self) -> Any:
        if self._lazy is None:
            try:
                self._lazy = load_catalog(self.name, **self._properties)
            except (ValueError, NotInstalledError, ImportError) as error:
                raise JobError(f"target.catalog: {line_of(error)}") from None
        return self._lazy

    @property
    def place(self) -> str:
        """The catalog and namespace in words, without user names and passwords."""
        return f"{self.warehouse or self._properties.get('type', 'iceberg')}: {'.'.join(self.namespace)}"

    @property
    def local(self) -> str | None:
        """The warehouse's folder, where it is a local one."""
        path = self.warehouse.removeprefix("file://") if self.warehouse.startswith("file:///") else self.warehouse
        return os.path.abspath(path) if path.startswith("/") or (path and "://" not in path and self._sql) else None

    @property
    def root(self) -> str | None:
        """The warehouse as a URL; None where it is a name that the catalog knows."""
        if "://" in self.warehouse and not self.local:
            return self.warehouse.rstrip("/")
        return f"file://{self.local}" if self.local else None

    @property
    def appends_columns(self) -> bool:
        """Whether new columns must stand after all others: a Hive metastore compares types place by place."""
        kind = self._properties.get("type", "")
        return kind == "hive" or (not kind and self._uri.startswith("thrift"))

    @property
    def _uri(self) -> str:
        return self._properties.get("uri", "")

    @property
    def _sql(self) -> bool:
        return self._properties.get("type", "") in ("sql", "in-memory")

    @property
    def made(self) -> bool:
        """Whether there is a catalog at all: False for a SQLite file that is not there yet."""
        path = database(self._uri)
        return not path or os.path.exists(path)

    def make_folders(self) -> None:
        """Make the folders of a local warehouse and of a SQLite file; those above them must exist.

        Raises TerminalSinkError, also for a SQLite file that this user cannot write.
        """
        path = database(self._uri)
        folders = [self.local, os.path.dirname(os.path.abspath(path)) if path else None]
        for folder in filter(None, folders):
            if os.path.isdir(folder):
                continue
            if not os.path.isdir(os.path.dirname(folder)):
                raise TerminalSinkError(
                    f"{folder}: the folder above it does not exist; make it, or correct target.catalog"
                )
            os.mkdir(folder)
        check_rights(self._uri)

    def file_system(self, location: str) -> tuple[pafs.FileSystem, str]:
        """The file system of a location, and its path there."""
        scheme, host, path = PyArrowFileIO.parse_location(location, self._properties)
        return load_file_io(self._properties, location).fs_by_scheme(scheme, host), path

    def file_system_path(self, location: str) -> str:
        """A location as its file system names it."""
        return str(PyArrowFileIO.parse_location(location, self._properties)[2])

    def names(self) -> list[str]:
        """The tables of the namespace."""
        if not self.made:
            return []
        try:
            return [name[-1] for name in self._catalog.list_tables(self.namespace)]
        except NoSuchNamespaceError:
            return []

    def load(self, name: str) -> Any:
        """pyiceberg's table; None where there is none."""
        if not self.made:
            return None
        try:
            return self._catalog.load_table((*self.namespace, name))
        except (NoSuchTableError, NoSuchNamespaceError):
            return None
        except ValidationError as error:
            with intact(name, f"its newest metadata file in {self.place}", whole=True):
                raise ValueError(line_of(error)) from None

    def create(self, name: str, schema: Any, properties: Mapping[str, str]) -> Any:
        """An empty table; the one that is there where another writer was faster."""
        self.make_folders()
        with suppress(NamespaceAlreadyExistsError):
            self._catalog.create_namespace(self.namespace)
        location = "/".join([self.root, *self.namespace, name]) if self.root and self._sql else None
        try:
            return self._catalog.create_table(
                (*self.namespace, name), schema, location=location, properties={**PROPERTIES, **properties}
            )
        except TableAlreadyExistsError:
            return self.load(name)

    def drop(self, name: str) -> None:
        """Remove a table and its files, if it is there."""
        with suppress(NoSuchTableError, NoSuchNamespaceError):
            if self.made:
                try:
                    self._catalog.purge_table((*self.namespace, name))
                except (ValidationError, ValueError, EOFError, FileNotFoundError):
                    # Its metadata are damaged: files that nobody knows of stay.
                    self._catalog.drop_table((*self.namespace, name))

    def commit(self, table: Any, produced: Produced, commit: str) -> Any:
        """Ask the catalog for it once; the table as it is then.

        Raises Conflict where another commit came first, TransientSinkError where nobody knows what happened.
        """
        try:
            done = self._catalog.commit_table(table, produced.requirements, produced.updates)
        except (CommitFailedException, *BROKEN) as error:
            if isinstance(error, REFUSED) or refused_by_hive(error):
                raise
            return self._resolved(table, commit, error)
        return IcebergTable(table.name(), done.metadata, done.metadata_location, table.io, self._catalog)

    def _resolved(self, table: Any, commit: str, cause: Exception) -> Any:
        for pause in LOOKS:
            time.sleep(pause)
            try:
                found = self.load(table.name()[-1])
            except BROKEN:
                continue
            if found is not None and holds(found, commit):
                return found
            if found is not None and isinstance(cause, CommitFailedException):
                raise Conflict(line_of(cause)) from cause
            if found is not None and found.metadata.current_snapshot_id != table.metadata.current_snapshot_id:
                raise Conflict(line_of(cause)) from cause
        if isinstance(cause, CommitStateUnknownException | OSError) or passing(cause):
            raise TransientSinkError(
                f"{self.place}.{table.name()[-1]}: the catalog's answer to a commit was lost ({line_of(cause)}), and "
                "the commit is not in the table's history yet; nothing was deleted"
            ) from cause
        raise cause

    def drop_connections(self) -> None:
        """Let go of the catalog."""
        if self._lazy is not None:
            self._lazy.close()
            self._lazy = None

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Errors of pyiceberg and of what is below it as Millrace's, with the place and without secrets."""
        try:
            yield
        except MillraceError:
            raise
        except Conflict as error:
            raise TransientSinkError(f"{self.place}: another writer was faster ({error})") from error
        except REFUSED as error:
            raise TerminalSinkError(f"{self.place}: the catalog refuses these credentials: {line_of(error)}") from error
        except BROKEN as error:
            if isinstance(error, FileNotFoundError):
                said = f"{self.place}: a file of a table is gone ({line_of(error)}); {way_out('TABLE')}"
                raise TerminalSinkError(said) from error
            kind = TransientSinkError if passing(error) else TerminalSinkError
            raise kind(f"{self.place}: {line_of(error)}") from error
        except (ValidationError, NoSuchTableError, NotInstalledError) as error:
            raise TerminalSinkError(f"{self.place}: {line_of(error)}") from error


def holds(table: Any, commit: str) -> bool:
    """Whether a snapshot of the table, or its ledger, names this commit."""
    named = (snapshot.summary and snapshot.summary.additional_properties.get(COMMIT) for snapshot in table.snapshots())
    return commit in named or any(
        name.startswith(f"{COMMIT}.") and value == commit for name, value in table.properties.items()
    )
