"""A local folder. An object gets its name by a hard link, or a rename that overwrites nothing: first writer wins."""

import ctypes
import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import pyarrow as pa

from ...schemas.errors import TerminalSinkError, TransientSinkError
from . import STAGING, Address, read_options, staging_name

NO_LINKS: Final = (errno.EPERM, errno.ENOTSUP, errno.EXDEV, errno.ENOSYS)
NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ESTALE)
AT_FDCWD: Final = -100
RENAME_NOREPLACE: Final = 1


class LocalStore:
    """`path` is a folder, whose own parent must exist (but for `parents`), or a `file:///` URL of one."""

    def __init__(self, address: Address) -> None:
        read_options(address, ())
        self._address = address
        self.place = address.folder or ""

    def create(self, name: str, data: pa.Buffer) -> bool:
        """Write a temporary file, sync it, link it to its name. Staged rows are not synced: they need not survive."""
        target, temporary = self._path(name), self._path(staging_name("part"))
        with self._errors(name):
            self._refuse_links(os.path.dirname(target))
            self._make_folders(os.path.dirname(temporary), private=True)
            private = self._address.private or name.startswith(STAGING)
            self._make_folders(os.path.dirname(target), private)
            try:
                mode = 0o600 if private else 0o666
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
                with os.fdopen(os.open(temporary, flags, mode), "wb") as out:
                    out.write(data)
                    out.flush()
                    if not name.startswith(STAGING):
                        os.fsync(out.fileno())
                _appear(temporary, target)
            except FileExistsError:
                return False
            finally:
                with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
                    os.unlink(temporary)
            # The name is durable once its folder is synced.
            _sync(os.path.dirname(target))
        return True

    def read(self, name: str) -> pa.Buffer | None:
        """The file, mapped into memory."""
        with self._errors(name):
            if self._is_link(self._path(name)):
                return None
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
                found += [f"{inner}/{file}" for file in files if not self._is_link(os.path.join(here, file))]
        return sorted(name for name in found if name > after)

    def files(self) -> list[str]:
        """The files in it; none where it does not exist yet."""
        return self._listed(folders=False)

    def folders(self) -> list[str]:
        """The folders in it; none where it does not exist yet."""
        return self._listed(folders=True)

    def _listed(self, folders: bool) -> list[str]:
        with self._errors(""):
            try:
                entries = [entry for entry in os.scandir(self.place) if not self._is_link(entry.path)]
                return sorted(entry.name for entry in entries if entry.is_dir() == folders)
            except FileNotFoundError:
                return []

    def delete(self, name: str) -> None:
        """Remove the file, and its folder where that is the empty one of staged rows."""
        with self._errors(name), suppress(FileNotFoundError):
            os.unlink(self._path(name))
            if name.startswith("_"):
                with suppress(OSError):
                    os.rmdir(os.path.dirname(self._path(name)))

    def check(self) -> None:
        """Write a byte into a file without a name, in the nearest folder that exists."""
        self._check_parent(self.place)
        self._refuse_links(self.place)
        nearest = self.place
        while not os.path.lexists(nearest):
            nearest = os.path.dirname(nearest)
        try:
            with tempfile.TemporaryFile(dir=nearest, buffering=0) as probe:
                probe.write(b".")
        except OSError as error:
            advice = f"correct {self._address.section}.path, or the rights of the folder"
            raise TerminalSinkError(f"{nearest} cannot be written: {error.strerror}; {advice}") from error

    def _path(self, name: str) -> str:
        return os.path.join(self.place, name) if name else self.place

    def _check_parent(self, folder: str) -> None:
        if not (os.path.isdir(folder) or self._address.parents or os.path.isdir(os.path.dirname(self.place))):
            advice = f"make it, or correct {self._address.section}.path"
            raise TerminalSinkError(f"{self.place}: the folder above it does not exist; {advice}")

    def _is_link(self, path: str) -> bool:
        """Whether this is a link that must not be followed."""
        return self._address.private and os.path.islink(path)

    def _refuse_links(self, folder: str) -> None:
        while len(folder) >= len(self.place):
            if self._is_link(folder):
                advice = f"write the folder that it leads to in {self._address.section}.path"
                raise TerminalSinkError(f"{folder} is a link, and none is followed here; {advice}")
            folder = os.path.dirname(folder)

    def _make_folders(self, folder: str, private: bool) -> None:
        if os.path.isdir(folder):
            return
        self._check_parent(folder)
        missing = [folder]
        while not os.path.isdir(os.path.dirname(missing[-1])):
            missing.append(os.path.dirname(missing[-1]))
        for made in reversed(missing):
            # What lies above the place is nobody's secret.
            with suppress(FileExistsError):
                os.mkdir(made, 0o700 if private and len(made) >= len(self.place) else 0o777)
            _sync(os.path.dirname(made))

    @contextmanager
    def _errors(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            more = "; the file system has no hard links" if error.errno in NO_LINKS else ""
            if error.errno in (errno.ENOTDIR, errno.EACCES, errno.EROFS):
                more = f"; correct {self._address.section}.path, or the rights of the folder"
            kind = TransientSinkError if error.errno in NO_ROOM else TerminalSinkError
            raise kind(f"{self._path(name)}: {error.strerror or error}{more}") from error


def _appear(temporary: str, target: str) -> None:
    """Give the temporary file its name. Raises FileExistsError where that is taken."""
    try:
        os.link(temporary, target)
    except OSError as error:
        if error.errno not in NO_LINKS or not _renamed(temporary, target):
            raise


def _renamed(temporary: str, target: str) -> bool:
    """Rename to a name that must be free, as Linux can without hard links; False where it cannot be done here."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    if rename(AT_FDCWD, os.fsencode(temporary), AT_FDCWD, os.fsencode(target), RENAME_NOREPLACE) == 0:
        return True
    if ctypes.get_errno() == errno.EEXIST:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
    return False


def _unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _sync(folder: str) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
