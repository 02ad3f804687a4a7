"""Where staged rows lie: a local folder, a folder of a file system behind a URL, a store of whole objects."""

import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

import pyarrow as pa
import pyarrow.fs as pafs

from ....schemas.errors import SinkError, TerminalSinkError
from ....schemas.model.stored_format import KEY, STAGED_ROWS
from ...stores import STAGING, Store

VERSION: Final = {KEY: str(STAGED_ROWS.newest)}
FOLDER_MODE: Final = 0o700
FILE_MODE: Final = 0o600


class StagingFolder(Protocol):
    """Files by URI, each written once. `write` and `open` raise OSError or SinkError, the others nothing."""

    @property
    def place(self) -> str:
        """How errors name it."""

    def uri(self, name: str) -> str:
        """What every worker opens the file of this name by."""

    def write(self, name: str, rows: pa.RecordBatch) -> None:
        """Make a file of the rows (Arrow IPC)."""

    def open(self, uri: str) -> Any:
        """The file or its bytes, for Arrow to read."""

    def delete(self, uri: str) -> None:
        """Remove a file, if that can be done."""

    def uris(self) -> list[str]:
        """All files there, as far as they can be listed."""

    def close(self) -> None:
        """Nothing is written any more: an empty folder may go."""


def folder_in(files: pafs.FileSystem, path: str, place: str = "") -> StagingFolder:
    """A folder of a file system; `place` where errors should name it otherwise."""
    return LocalFolder(path) if files.type_name == "local" else RemoteFolder(files, path, place or path)


@dataclass(frozen=True)
class LocalFolder:
    """Only this user can enter it and read its files. No link is followed: neither as the folder nor as a file.

    `root` is the target's own folder, which is made where it is missing, but not the folder above it.
    """

    path: str
    root: str | None = None

    @property
    def place(self) -> str:
        return self.path

    def uri(self, name: str) -> str:
        return os.path.join(self.path, name)

    def write(self, name: str, rows: pa.RecordBatch) -> None:
        """The folder is made, with those above it, where it is missing."""
        self._make()
        path = self.uri(name)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, FILE_MODE))
        with pa.OSFile(path, "wb") as out:
            write_file(out, rows)

    def open(self, uri: str) -> pa.NativeFile:
        """Mapped into memory."""
        if not stat.S_ISREG(os.lstat(uri).st_mode):
            raise OSError(f"{uri} is no file of Millrace")
        return pa.memory_map(uri)

    def delete(self, uri: str) -> None:
        with suppress(OSError):
            os.unlink(uri)

    def uris(self) -> list[str]:
        """Without links and folders."""
        try:
            with os.scandir(self.path) as entries:
                return [entry.path for entry in entries if entry.is_file(follow_symlinks=False)]
        except OSError:
            return []

    def close(self) -> None:
        with suppress(OSError):
            os.rmdir(self.path)

    def _make(self) -> None:
        with suppress(FileNotFoundError):
            if not stat.S_ISDIR(os.lstat(self.path).st_mode):
                raise NotADirectoryError(f"{self.path} is a link or a file, not a folder: remove it")
            return
        if self.root is not None and not os.path.isdir(os.path.dirname(self.root)):
            raise TerminalSinkError(f"{self.root}: the folder above it does not exist; make it, or correct target.path")
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        with suppress(FileExistsError):
            os.mkdir(self.path, FOLDER_MODE)


@dataclass(frozen=True)
class RemoteFolder:
    """A folder of any file system that pyarrow has; rights are those of the storage."""

    files: pafs.FileSystem
    path: str
    place: str

    def uri(self, name: str) -> str:
        return f"{self.path}/{name}"

    def write(self, name: str, rows: pa.RecordBatch) -> None:
        self.files.create_dir(self.path)
        with self.files.open_output_stream(self.uri(name)) as out:
            write_file(out, rows)

    def open(self, uri: str) -> pa.NativeFile:
        return self.files.open_input_file(uri)

    def delete(self, uri: str) -> None:
        with suppress(OSError):
            self.files.delete_file(uri)

    def uris(self) -> list[str]:
        with suppress(OSError):
            return [info.path for info in self.files.get_file_info(pafs.FileSelector(self.path, allow_not_found=True))]
        return []

    def close(self) -> None:
        """Object stores have no empty folders."""


@dataclass(frozen=True)
class StoreFolder:
    """The staging folder of a store, among the parts of objects that the store itself makes there."""

    store: Store

    @property
    def place(self) -> str:
        return f"{self.store.place}/{STAGING}"

    def uri(self, name: str) -> str:
        return f"{STAGING}/{name}"

    def write(self, name: str, rows: pa.RecordBatch) -> None:
        """In one piece, as the store takes it."""
        room = pa.allocate_buffer(_size(rows))
        with pa.FixedSizeBufferWriter(room) as out:
            write_file(out, rows)
            end = out.tell()
        self.store.create(self.uri(name), room.slice(0, end))

    def open(self, uri: str) -> pa.Buffer:
        data = self.store.read(uri)
        if data is None:
            raise FileNotFoundError(f"it is gone from {self.store.place}")
        return data

    def delete(self, uri: str) -> None:
        with suppress(SinkError):
            self.store.delete(uri)

    def uris(self) -> list[str]:
        try:
            return self.store.names(STAGING)
        except SinkError:
            return []

    def close(self) -> None:
        """Object stores have no empty folders."""


def write_file(out: Any, rows: pa.RecordBatch) -> None:
    """Write the rows as one Arrow IPC file that bears the version of staged rows."""
    marked = rows.replace_schema_metadata(VERSION)
    with pa.ipc.new_file(out, marked.schema) as writer:
        writer.write_batch(marked)


def _size(rows: pa.RecordBatch) -> int:
    """Room for the batch as a file: the batch, and its schema before and after it."""
    return int(pa.ipc.get_record_batch_size(rows)) + 2 * len(rows.schema.serialize()) + (1 << 12)
