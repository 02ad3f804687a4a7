"""A local folder. An object appears by a hard link, which fails where the name is taken."""

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from urllib.parse import unquote

import pyarrow as pa

from ....schemas.errors import TerminalSinkError
from . import STAGING, read_options, staging_name

NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EXDEV, errno.ENOSYS)


class LocalStore:
    """`path` is a folder, whose own parent must exist, or a `file:///` URL of one."""

    def __init__(self, path: str, options: Mapping[str, str]) -> None:
        read_options(options, ())
        self.place = os.path.abspath(unquote(path.removeprefix("file://")) if path.startswith("file:///") else path)

    def create(self, name: str, data: pa.Buffer) -> bool:
        """Write a part, sync it (but for staged rows, which a lost machine takes along), link it to its name."""
        target, part = self._path(name), self._path(staging_name("part"))
        with self._errors(name):
            self._make_folders(os.path.dirname(part))
            self._make_folders(os.path.dirname(target))
            try:
                with open(part, "xb") as out:
                    out.write(data)
                    out.flush()
                    if not name.startswith(STAGING):
                        os.fsync(out.fileno())
                os.link(part, target)
            except FileExistsError:
                return False
            finally:
                with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
                    os.unlink(part)
            _sync(os.path.dirname(target))
        return True

    def read(self, name: str) -> pa.Buffer | None:
        """The file, mapped into memory."""
        with self._errors(name):
            try:
                with pa.memory_map(self._path(name)) as file:
                    return file.read_buffer()
            except FileNotFoundError:
                return None

    def names(self, folder: str, after: str = "") -> list[str]:
        """All files below, by walking the folders."""
        found = []
        with self._errors(folder):
            for here, _, files in os.walk(self._path(folder), onerror=_unless_missing):
                inner = os.path.relpath(here, self.place).replace(os.sep, "/")
                found += [f"{inner}/{file}" for file in files]
        return sorted(name for name in found if name > after)

    def folders(self) -> list[str]:
        """The folders in it; none where it does not exist yet."""
        with self._errors(""):
            try:
                return sorted(entry.name for entry in os.scandir(self.place) if entry.is_dir())
            except FileNotFoundError:
                return []

    def delete(self, name: str) -> None:
        """Remove the file, and its folder where that is the empty one of staged rows."""
        with self._errors(name), suppress(FileNotFoundError):
            os.unlink(self._path(name))
            if name.startswith("_"):
                with suppress(OSError):
                    os.rmdir(os.path.dirname(self._path(name)))

    def _path(self, name: str) -> str:
        return os.path.join(self.place, name)

    def _make_folders(self, folder: str) -> None:
        if os.path.isdir(folder):
            return
        if not os.path.isdir(os.path.dirname(self.place)):
            raise TerminalSinkError(
                f"{self.place}: the folder above it does not exist; make it, or correct target.path"
            )
        made = folder
        while not os.path.isdir(made):
            made = os.path.dirname(made)
        os.makedirs(folder, exist_ok=True)
        _sync(made)

    @contextmanager
    def _errors(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            more = "; the file system has no hard links" if error.errno in NO_LINKS else ""
            raise TerminalSinkError(f"{self._path(name)}: {error.strerror or error}{more}") from error


def _unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _sync(folder: str) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
