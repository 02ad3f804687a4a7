"""S3, by boto3. Every write has the precondition `If-None-Match: *`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import boto3
import pyarrow as pa
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NoConnection

from ...schemas.errors import TerminalSinkError, TransientSinkError
from . import Address, bucket_and_prefix, first_line, read_options, staging_name

OPTIONS: Final = {
    "aws_access_key_id": "aws_access_key_id",
    "aws_secret_access_key": "aws_secret_access_key",
    "aws_session_token": "aws_session_token",
    "aws_region": "region_name",
    "aws_profile": "profile_name",
}
ENDPOINT: Final = "aws_endpoint_url"
TAKEN: Final = ("PreconditionFailed", "412")
BUSY: Final = ("ConditionalRequestConflict", "SlowDown", "RequestTimeout", "OperationAborted", "409", "503")
REFUSED: Final = ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "403", "401")


class S3Store:
    """`s3://bucket/prefix`. Credentials and region are found as boto3 finds them, or in `storage_options`.

    These are named as deltalake names them: `aws_access_key_id`, `aws_secret_access_key`, `aws_session_token`,
    `aws_region`, `aws_profile`, `aws_endpoint_url`.
    """

    def __init__(self, address: Address) -> None:
        self._options = read_options(address, (*OPTIONS, ENDPOINT))
        self._bucket, self._prefix = bucket_and_prefix(address)
        self.place = address.path.rstrip("/")
        self._opened: Any = None

    def create(self, name: str, data: pa.Buffer) -> bool:
        """One PUT; S3 checks its checksum and its precondition."""
        with self._errors():
            try:
                self._client().put_object(
                    Bucket=self._bucket, Key=self._prefix + name, Body=memoryview(data).tobytes(), IfNoneMatch="*"
                )
            except ClientError as error:
                if _code(error) in TAKEN:
                    return False
                raise
        return True

    def read(self, name: str) -> pa.Buffer | None:
        """One GET."""
        with self._errors():
            try:
                answer = self._client().get_object(Bucket=self._bucket, Key=self._prefix + name)
            except ClientError as error:
                if _code(error) == "NoSuchKey":
                    return None
                raise
            return pa.py_buffer(answer["Body"].read())

    def names(self, folder: str, after: str = "") -> list[str]:
        """A listing, which is consistent, from `after` on."""
        pages = self._pages(Prefix=f"{self._prefix}{folder}/", StartAfter=self._prefix + after if after else "")
        names = [item["Key"].removeprefix(self._prefix) for page in pages for item in page.get("Contents", ())]
        return sorted(name for name in names if name > after)

    def files(self) -> list[str]:
        """A listing up to the next slash."""
        pages = self._pages(Prefix=self._prefix, Delimiter="/")
        return sorted(item["Key"].removeprefix(self._prefix) for page in pages for item in page.get("Contents", ()))

    def folders(self) -> list[str]:
        """The prefixes up to the next slash."""
        pages = self._pages(Prefix=self._prefix, Delimiter="/")
        found = [item["Prefix"] for page in pages for item in page.get("CommonPrefixes", ())]
        return sorted(prefix.removeprefix(self._prefix).rstrip("/") for prefix in found)

    def delete(self, name: str) -> None:
        """One DELETE."""
        with self._errors():
            self._client().delete_object(Bucket=self._bucket, Key=self._prefix + name)

    def check(self) -> None:
        """Begin an upload in parts, which needs the right to make objects, and call it off: no object comes of it."""
        where = {"Bucket": self._bucket, "Key": self._prefix + staging_name("probe")}
        with self._errors():
            begun = self._client().create_multipart_upload(**where)
            self._client().abort_multipart_upload(UploadId=begun["UploadId"], **where)

    def _pages(self, **what: str) -> list[Any]:
        with self._errors():
            return list(self._client().get_paginator("list_objects_v2").paginate(Bucket=self._bucket, **what))

    def _client(self) -> Any:
        if self._opened is None:
            session = boto3.Session(**{OPTIONS[name]: text for name, text in self._options.items() if name in OPTIONS})
            config = Config(connect_timeout=10, read_timeout=120, retries={"mode": "standard", "max_attempts": 5})
            self._opened = session.client("s3", endpoint_url=self._options.get(ENDPOINT), config=config)
        return self._opened

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (NoConnection, HTTPClientError) as error:
            raise TransientSinkError(f"{self.place}: no good answer from the store: {first_line(error)}") from error
        except ClientError as error:
            code, status = _code(error), error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            if code in BUSY or status >= 500:
                raise TransientSinkError(f"{self.place}: the store is busy: {first_line(error)}") from error
            if code == "NoSuchBucket":
                raise TerminalSinkError(f"{self.place}: there is no bucket {self._bucket!r}; make it") from error
            more = "; check the credentials and their rights on the bucket" if code in REFUSED else ""
            raise TerminalSinkError(f"{self.place}: {first_line(error)}{more}") from error
        except BotoCoreError as error:
            raise TerminalSinkError(f"{self.place}: {first_line(error)}") from error


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
