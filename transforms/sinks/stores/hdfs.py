"""HDFS, by hdfs-native: no JVM. An object appears by a rename, which fails where the name is taken."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final

import pyarrow as pa

from ....schemas.errors import JobError, MissingExtraError, TerminalSinkError, TransientSinkError
from . import STAGING, first_line, staging_name

try:
    from hdfs_native import Client
except ImportError as missing:
    raise MissingExtraError("target.path: hdfs://", "hdfs") from missing

AWAY: Final = (
    "Connection refused",
    "Connection reset",
    "timed out",
    "StandbyException",
    "SafeModeException",
    "os error",
)


class HdfsStore:
    """`hdfs://namenode:port/folder`, or `hdfs://nameservice/folder` as HADOOP_CONF_DIR knows it.

    `storage_options` are Hadoop's own settings. The user is HADOOP_USER_NAME, or Kerberos' where that is set up.
    """

    def __init__(self, path: str, options: Mapping[str, str]) -> None:
        server, _, folder = path.removeprefix("hdfs://").partition("/")
        if not server:
            raise JobError(f"target.path: {path} names no name node: hdfs://HOST:PORT/FOLDER")
        self._folder = f"/{folder.strip('/')}".rstrip("/")
        self.place = f"hdfs://{server}{self._folder}"
        self._server = f"hdfs://{server}"
        self._options = {"dfs.client.failover.max.attempts": "4", **{key: str(text) for key, text in options.items()}}
        self._opened: Client | None = None

    def create(self, name: str, data: pa.Buffer) -> bool:
        """Write a part, close it, rename it."""
        part, target = self._path(staging_name("part")), self._path(name)
        with self._errors():
            client = self._client()
            client.mkdirs(self._path(STAGING), create_parent=True)
            client.mkdirs(target.rpartition("/")[0], create_parent=True)
            try:
                with client.create(part) as out:
                    out.write(memoryview(data).tobytes())
                client.rename(part, target)
            except FileExistsError:
                client.delete(part)
                return False
        return True

    def read(self, name: str) -> pa.Buffer | None:
        """The whole file."""
        with self._errors():
            try:
                with self._client().read(self._path(name)) as file:
                    return pa.py_buffer(file.read())
            except FileNotFoundError:
                return None

    def names(self, folder: str, after: str = "") -> list[str]:
        """A recursive listing."""
        with self._errors():
            try:
                found = list(self._client().list_status(self._path(folder), recursive=True))
            except FileNotFoundError:
                return []
        names = [status.path.removeprefix(f"{self._folder}/") for status in found if not status.isdir]
        return sorted(name for name in names if name > after)

    def folders(self) -> list[str]:
        """The folders in it; none where it does not exist yet."""
        with self._errors():
            try:
                found = list(self._client().list_status(self._folder or "/"))
            except FileNotFoundError:
                return []
        return sorted(status.path.rpartition("/")[2] for status in found if status.isdir)

    def delete(self, name: str) -> None:
        """Remove the file."""
        with self._errors(), suppress(FileNotFoundError):
            self._client().delete(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self._folder}/{name}"

    def _client(self) -> Client:
        if self._opened is None:
            self._opened = Client(self._server, self._options)
        return self._opened

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            said = first_line(error)
            if any(sign in str(error) for sign in AWAY):
                raise TransientSinkError(f"{self.place}: no good answer from the name node: {said}") from error
            raise TerminalSinkError(f"{self.place}: {said}") from error
