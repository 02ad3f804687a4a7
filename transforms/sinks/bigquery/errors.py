"""Google's errors as Millrace's: which are worth another try, which need a person, in one sentence each."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from google.api_core import exceptions
from google.auth.exceptions import GoogleAuthError, TransportError
from google.cloud.bigquery_storage_v1 import types
from google.protobuf.descriptor_pb2 import DescriptorProto

from ....schemas.errors import SinkError, TerminalSinkError, TransientSinkError

EXTRA_FIELDS: Final = types.StorageError.StorageErrorCode.SCHEMA_MISMATCH_EXTRA_FIELDS
AGAIN: Final = (
    exceptions.ServerError,
    exceptions.TooManyRequests,
    exceptions.Aborted,
    exceptions.Cancelled,
    exceptions.PreconditionFailed,
    exceptions.RetryError,
    TransportError,
    OSError,
)
BUSY: Final = frozenset({"rateLimitExceeded", "quotaExceeded", "jobRateLimitExceeded", "backendError"})


class NotSpreadError(Exception):
    """The writing end of BigQuery does not know yet what was just made or widened."""


@contextmanager
def errors(place: str) -> Iterator[None]:
    """Google's errors as Millrace's, with the data set's name."""
    try:
        yield
    except SinkError:
        raise
    except exceptions.NotFound as error:
        raise TerminalSinkError(
            f"BigQuery {place} does not exist, or something in it; make it, or correct target.project and "
            f"target.dataset ({line(error)})"
        ) from error
    except AGAIN as error:
        raise TransientSinkError(f"BigQuery {place} cannot be reached or is busy ({line(error)})") from error
    except exceptions.GoogleAPICallError as error:
        reasons = {part.get("reason") for part in error.errors if isinstance(part, dict)}
        kind = TransientSinkError if reasons & BUSY else TerminalSinkError
        raise kind(f"BigQuery {place}: {_advice(error)} ({line(error)})") from error
    except GoogleAuthError as error:
        raise TerminalSinkError(
            f"BigQuery {place}: there are no credentials that work: set GOOGLE_APPLICATION_CREDENTIALS, or run "
            f"gcloud auth application-default login ({line(error)})"
        ) from error


def check(response: types.AppendRowsResponse, message: DescriptorProto) -> None:
    """Raise what an answer to an append says went wrong."""
    if "error" in response:
        status = types.AppendRowsResponse.pb(response).error
        text = status.message
        if response.row_errors:
            first = response.row_errors[0]
            text = f"row {first.index} of a request was refused: {first.message}"
        for detail in status.details:
            found = types.StorageError.pb()()
            if detail.Is(found.DESCRIPTOR) and detail.Unpack(found) and found.code == EXTRA_FIELDS:
                raise NotSpreadError(text)
        raise spread(exceptions.from_grpc_status(status.code, text))
    if "updated_schema" in response:
        known = {part.name.lower() for part in response.updated_schema.fields}
        gone = [part.name for part in message.field if part.name.lower() not in known and not _pseudo(part.name)]
        if gone:
            raise TerminalSinkError(
                f"the column {gone[0]!r} was taken from the table while rows were written; put the table's columns back"
            )


def _pseudo(name: str) -> bool:
    return name.startswith("_CHANGE_")


def spread(error: Any) -> Exception:
    """A table that was not found is one that was just made: its absence was looked at before."""
    return NotSpreadError(line(error)) if isinstance(error, exceptions.NotFound) else error


def _advice(error: exceptions.GoogleAPICallError) -> str:
    if isinstance(error, exceptions.Forbidden | exceptions.Unauthorized):
        return "permission is missing: the account needs roles/bigquery.dataEditor on it and roles/bigquery.user"
    if "too large" in str(error).lower():
        return "the answer or the row is larger than BigQuery allows"
    return "it refuses"


def line(error: Exception) -> str:
    """The first line of an error's text."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:500]
