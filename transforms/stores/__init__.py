"""Stores of whole, immutable objects: a local folder, S3, Google Cloud Storage, HDFS. Here is their contract."""

import os
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any, Final, Protocol, Self
from urllib.parse import unquote

import pyarrow as pa

from ...schemas.errors import JobError, MissingExtraError, SinkError
from ...schemas.secrets import resolve, resolved

STAGING: Final = "_millrace_staging"
LEFT_BEHIND_SECONDS: Final = 86_400.0
LOCAL: Final = "file"


class Store(Protocol):
    """Objects below one place, by names relative to it with `/` between their parts.

    An object is made whole or not at all, and never changed afterwards: no reader sees half of one. Raises
    TransientSinkError where another try may help, TerminalSinkError where a person has to act.
    """

    place: str

    def create(self, name: str, data: pa.Buffer) -> bool:
        """Make an object where there is none; False, and nothing written, where there is one. Durable on return.

        False also where an earlier try of the same call made it and its answer was lost.
        """

    def read(self, name: str) -> pa.Buffer | None:
        """All of an object; None where there is none."""

    def names(self, folder: str, after: str = "") -> list[str]:
        """Names of all objects below a folder, sorted, those up to `after` left out. Sees every earlier `create`."""

    def files(self) -> list[str]:
        """Names of the objects at the top, sorted, without those in folders. Sees every earlier `create`."""

    def folders(self) -> list[str]:
        """The folders at the top."""

    def delete(self, name: str) -> None:
        """Remove an object, if it is there."""

    def check(self) -> None:
        """Raise what `create` would raise now, as far as that can be known; leaves nothing behind."""


@dataclass(frozen=True, slots=True)
class Address:
    """A place as the job file's `section` names it: `path`, `storage_options`; secrets as references or in the clear.

    `parents`: a local folder's parents are made too, where they are missing. `private`: its folders and files are its
    owner's alone, and links in it are not followed. The repr shows no options.
    """

    path: str
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    section: str = "target"
    parents: bool = False
    private: bool = False

    @property
    def scheme(self) -> str:
        """`gs`, `s3`, `hdfs` as written, or `file`."""
        return self.path.partition("://")[0] if "://" in self.path else LOCAL

    @property
    def folder(self) -> str | None:
        """The local path, absolute; None for a URL of a store."""
        if self.scheme != LOCAL:
            return None
        return os.path.abspath(unquote(self.path.removeprefix("file://")) if "://" in self.path else self.path)

    def resolved(self) -> Self:
        """With secrets looked up. Never print, log or pickle its options."""
        return replace(self, path=resolve(self.path), options=resolved(self.options))


SCHEMES: Final[Mapping[str, str]] = {
    LOCAL: ".local:LocalStore",
    "gs": ".gcs:GcsStore",
    "hdfs": ".hdfs:HdfsStore",
    "s3": ".s3:S3Store",
}
"""A URL's scheme, and its class; each module but the local one needs the extra of its name."""


def open_store(address: Address) -> Store:
    """The store at a local folder or a URL; opens no connection yet. Raises JobError, MissingExtraError."""
    scheme = address.scheme
    if scheme not in SCHEMES:
        raise JobError(f"{address.section}.path: {address.path}: {unknown_scheme(scheme)}")
    module, name = SCHEMES[scheme].split(":")
    try:
        made: Any = getattr(import_module(module, __name__), name)
    except ImportError as missing:
        raise MissingExtraError(f"{address.section}.path: {scheme}://", module.strip(".")) from missing
    store: Store = made(address)
    return store


def unknown_scheme(scheme: str) -> str:
    """The error text for a scheme that no store handles."""
    return f"{scheme}:// is not known; known are {', '.join(sorted(SCHEMES))}"


def read_options(address: Address, known: Sequence[str]) -> dict[str, str]:
    """`storage_options` in lower case. Raises JobError for one that is not known."""
    found = {name.lower(): str(value) for name, value in address.options.items()}
    for name in found:
        if name not in known:
            named = f"known are {', '.join(known)}" if known else "a local folder has none"
            raise JobError(f"{address.section}.storage_options: {name!r} is not known; {named}")
    return found


def bucket_and_prefix(address: Address) -> tuple[str, str]:
    """`gs://bucket/a/b` as (`bucket`, `a/b/`); the prefix of a bucket's top is empty. Raises JobError."""
    bucket, _, prefix = address.path.partition("://")[2].partition("/")
    if not bucket:
        raise JobError(f"{address.section}.path: {address.path} names no bucket")
    prefix = prefix.strip("/")
    return bucket, f"{prefix}/" if prefix else ""


def file_name(ending: str) -> str:
    """A unique name, which begins with the time in seconds: see `sweep`."""
    return f"{int(time.time()):012d}-{uuid.uuid4().hex}.{ending}"


def staging_name(ending: str) -> str:
    """A unique name in the staging folder, which `sweep` clears by its time."""
    return f"{STAGING}/{file_name(ending)}"


def sweep(store: Store) -> None:
    """Delete what killed processes left in the staging folder more than a day ago; errors of the store are ignored."""
    limit = time.time() - LEFT_BEHIND_SECONDS
    with suppress(SinkError):
        for name in store.names(STAGING):
            made = name.rpartition("/")[2].partition("-")[0]
            if made.isdigit() and int(made) < limit:
                store.delete(name)


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
