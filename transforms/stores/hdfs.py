"""HDFS, by hdfs-native: no JVM. An object gets its name by a rename, which fails where the name is taken."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import pyarrow as pa
from hdfs_native import Client

from ...schemas.errors import JobError, TerminalSinkError, TransientSinkError
from . import STAGING, Address, first_line, staging_name

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

    def __init__(self, address: Address) -> None:
        server, _, folder = address.path.removeprefix("hdfs://").partition("/")
        if not server:
            raise JobError(f"{address.section}.path: {address.path} names no name node: hdfs://HOST:PORT/FOLDER")
        self._folder = f"/{folder.strip('/')}".rstrip("/")
        self.place = f"hdfs://{server}{self._folder}"
        self._server = f"hdfs://{server}"
        own = {key: str(text) for key, text in address.options.items()}
        self._options = {"dfs.client.failover.max.attempts": "4", **own}
        self._opened: Client | None = None

    def create(self, name: str, data: pa.Buffer) -> bool:
        """Write a temporary file, close it, rename it."""
        temporary, target = self._path(staging_name("part")), self._path(name)
        with self._errors():
            client = self._client()
            client.mkdirs(self._path(STAGING), create_parent=True)
            client.mkdirs(target.rpartition("/")[0] or "/", create_parent=True)
            try:
                with client.create(temporary) as out:
                    out.write(memoryview(data).tobytes())
                client.rename(temporary, target)
            except FileExistsError:
                client.delete(temporary)
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

    def files(self) -> list[str]:
        """The files in it; none where it does not exist yet."""
        return self._listed(folders=False)

    def folders(self) -> list[str]:
        """The folders in it; none where it does not exist yet."""
        return self._listed(folders=True)

    def _listed(self, folders: bool) -> list[str]:
        with self._errors():
            try:
                found = list(self._client().list_status(self._folder or "/"))
            except FileNotFoundError:
                return []
        return sorted(status.path.rpartition("/")[2] for status in found if status.isdir == folders)

    def delete(self, name: str) -> None:
        """Remove the file."""
        with self._errors(), suppress(FileNotFoundError):
            self._client().delete(self._path(name))

    def check(self) -> None:
        """Write a byte beside what the nearest folder that exists holds, and remove it."""
        with self._errors():
            client, folder = self._client(), self._folder
            while folder and not _exists(client, folder):
                folder = folder.rpartition("/")[0]
            probe = f"{folder}/{staging_name('probe').replace('/', '-')}"
            with client.create(probe) as out:
                out.write(b".")
            client.delete(probe)

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


def _exists(client: Client, path: str) -> bool:
    try:
        client.get_file_info(path)
    except FileNotFoundError:
        return False
    return True
