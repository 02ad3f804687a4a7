"""Google Cloud Storage, by google-cloud-storage. Every write has the precondition that there is no object yet."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pyarrow as pa
import requests.exceptions
from google.api_core import exceptions as api
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import GoogleAuthError, TransportError
from google.cloud.storage import Client

from ...schemas.errors import TerminalSinkError, TransientSinkError
from . import Address, bucket_and_prefix, first_line, read_options, staging_name

OPTIONS: Final = ("project", "endpoint", "service_account_file", "anonymous")
AWAY: Final = (
    api.ServerError,
    api.TooManyRequests,
    api.RetryError,
    TransportError,
    requests.exceptions.ConnectionError,
    requests.exceptions.Timeout,
)


class GcsStore:
    """`gs://bucket/prefix`. Credentials are the application default ones, or those of `service_account_file`.

    Other `storage_options`: `project`, `endpoint`, and `anonymous: true` for a store that lets anyone in.
    """

    def __init__(self, address: Address) -> None:
        self._options = read_options(address, OPTIONS)
        self._name, self._prefix = bucket_and_prefix(address)
        self.place = address.path.rstrip("/")
        self._opened: Any = None

    def create(self, name: str, data: pa.Buffer) -> bool:
        """One upload, under the precondition `ifGenerationMatch=0`; the answer's checksum is compared."""
        with self._errors():
            try:
                blob = self._bucket().blob(self._prefix + name)
                blob.upload_from_string(memoryview(data).tobytes(), if_generation_match=0, checksum="crc32c")
            except api.PreconditionFailed:
                return False
        return True

    def read(self, name: str) -> pa.Buffer | None:
        """One download, its checksum compared."""
        with self._errors():
            try:
                return pa.py_buffer(self._bucket().blob(self._prefix + name).download_as_bytes(checksum="crc32c"))
            except api.NotFound as error:
                if "bucket" in str(error).lower() and not self._bucket().exists():
                    raise
                return None

    def names(self, folder: str, after: str = "") -> list[str]:
        """A listing, which is consistent, from `after` on."""
        start = self._prefix + after if after else None
        with self._errors():
            found = self._bucket().list_blobs(prefix=f"{self._prefix}{folder}/", start_offset=start)
            names = [blob.name.removeprefix(self._prefix) for blob in found]
        return sorted(name for name in names if name > after)

    def files(self) -> list[str]:
        """A listing up to the next slash."""
        with self._errors():
            found = self._bucket().list_blobs(prefix=self._prefix or None, delimiter="/")
            return sorted(blob.name.removeprefix(self._prefix) for blob in found)

    def folders(self) -> list[str]:
        """The prefixes up to the next slash."""
        with self._errors():
            found = self._bucket().list_blobs(prefix=self._prefix or None, delimiter="/")
            for _ in found.pages:
                pass
            return sorted(prefix.removeprefix(self._prefix).rstrip("/") for prefix in found.prefixes)

    def delete(self, name: str) -> None:
        """One delete."""
        with self._errors():
            try:
                self._bucket().blob(self._prefix + name).delete()
            except api.NotFound:
                return

    def check(self) -> None:
        """Begin an upload, which needs the right to make objects, and send nothing: no object comes of it."""
        with self._errors():
            blob = self._bucket().blob(self._prefix + staging_name("probe"))
            blob.create_resumable_upload_session(size=1, if_generation_match=0)

    def _bucket(self) -> Any:
        if self._opened is None:
            self._opened = self._client().bucket(self._name)
        return self._opened

    def _client(self) -> Any:
        options: dict[str, Any] = {"project": self._options.get("project")}
        if "endpoint" in self._options:
            options["client_options"] = {"api_endpoint": self._options["endpoint"]}
        if self._options.get("anonymous", "").lower() == "true":
            options["credentials"] = AnonymousCredentials()
            options["project"] = options["project"] or "anonymous"
        if "service_account_file" in self._options:
            return Client.from_service_account_json(self._options["service_account_file"], **options)
        return Client(**options)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except AWAY as error:
            raise TransientSinkError(f"{self.place}: no good answer from the store: {first_line(error)}") from error
        except (GoogleAuthError, api.Unauthorized, api.Forbidden) as error:
            raise TerminalSinkError(
                f"{self.place}: the store does not let Millrace in; check the credentials and their rights on the "
                f"bucket: {first_line(error)}"
            ) from error
        except api.NotFound as error:
            raise TerminalSinkError(f"{self.place}: there is no bucket {self._name!r}; make it") from error
        except (api.GoogleAPICallError, OSError, ValueError) as error:
            raise TerminalSinkError(f"{self.place}: {first_line(error)}") from error
