"""Places for whole objects: a local folder, S3, Google Cloud Storage, HDFS."""

import time
import uuid
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final, Protocol

import pyarrow as pa

from ....schemas.errors import JobError

STAGING: Final = "_millrace_staging"


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

    def folders(self) -> list[str]:
        """The folders at the top."""

    def delete(self, name: str) -> None:
        """Remove an object, if it is there."""


SCHEMES: Final[Mapping[str, str]] = {
    "file": ".local:LocalStore",
    "gs": ".gcs:GcsStore",
    "hdfs": ".hdfs:HdfsStore",
    "s3": ".s3:S3Store",
}


def open_store(path: str, options: Mapping[str, str]) -> Store:
    """The store at a local folder or a URL; opens no connection yet. Raises JobError, MissingExtraError."""
    scheme = path.partition("://")[0] if "://" in path else "file"
    if scheme not in SCHEMES:
        raise JobError(f"target.path: {path}: {scheme}:// is not known; known are {', '.join(sorted(SCHEMES))}")
    module, name = SCHEMES[scheme].split(":")
    made: Any = getattr(import_module(module, __name__), name)
    store: Store = made(path, options)
    return store


def read_options(options: Mapping[str, str], known: tuple[str, ...]) -> dict[str, str]:
    """`storage_options` in lower case. Raises JobError for one that is not known."""
    found = {name.lower(): str(value) for name, value in options.items()}
    for name in found:
        if name not in known:
            raise JobError(f"target.storage_options: {name!r} is not known; known are {', '.join(known)}")
    return found


def bucket_and_prefix(path: str) -> tuple[str, str]:
    """`gs://bucket/a/b` as (`bucket`, `a/b/`); the prefix of a bucket's top is empty. Raises JobError."""
    bucket, _, prefix = path.partition("://")[2].partition("/")
    if not bucket:
        raise JobError(f"target.path: {path} names no bucket")
    prefix = prefix.strip("/")
    return bucket, f"{prefix}/" if prefix else ""


def staging_name(ending: str) -> str:
    """A name of its own in the staging folder, with the time in it."""
    return f"{STAGING}/{int(time.time()):012d}-{uuid.uuid4().hex}.{ending}"


def staged_before(names: list[str], seconds: float) -> list[str]:
    """Those of the staging folder's names that are older than this."""
    limit = time.time() - seconds
    ages = {name: name.rpartition("/")[2].partition("-")[0] for name in names}
    return [name for name, made in ages.items() if made.isdigit() and int(made) < limit]


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
