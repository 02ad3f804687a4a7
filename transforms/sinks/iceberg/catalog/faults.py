"""Errors of catalogs and of what is below them: which may pass, and what they say."""

import re
from typing import Final

from ..pyiceberg import (
    DATABASE_ERRORS,
    AuthorizationExpiredError,
    BotoCoreError,
    ClientError,
    CommitStateUnknownException,
    DatabaseBusy,
    DatabaseError,
    ForbiddenError,
    InvalidOperationException,
    OAuthError,
    RESTError,
    TException,
    UnauthorizedError,
    WaitingForLockException,
)

REFUSED: Final = (UnauthorizedError, ForbiddenError, OAuthError, AuthorizationExpiredError)
BROKEN: Final = (RESTError, OSError, *DATABASE_ERRORS, BotoCoreError, ClientError, TException, WaitingForLockException)
NETWORK: Final = re.compile(r"NETWORK_CONNECTION|curlCode|[Tt]imed? ?out|SLOW_DOWN|INTERNAL_FAILURE|[Cc]onnection")
LASTING_CODES: Final = (
    "AccessDenied",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "NoSuchBucket",
    "UnrecognizedClient",
)
HIVE_2: Final = "A metastore of Hive 2 needs `hive.hive2-compatible: true` in target.catalog."


def passing(error: BaseException) -> bool:
    """Whether another try may help."""
    if isinstance(error, DatabaseError):
        text = str(error.orig)
        lasting = (
            "unable to open",
            "readonly",
            "authentication failed",
            "does not exist",
            "no such table",
        )
        return isinstance(error, DatabaseBusy) and not any(word in text for word in lasting)
    if isinstance(error, ClientError):
        return error.response.get("Error", {}).get("Code", "") not in LASTING_CODES
    if refused_by_hive(error):
        return False
    if isinstance(error, BotoCoreError | TException | WaitingForLockException | CommitStateUnknownException):
        return True
    if isinstance(error, RESTError):
        return type(error).__name__ in ("ServerError", "ServiceUnavailableError", "TooManyRequestsError")
    if isinstance(error, ConnectionError | TimeoutError) or type(error).__module__.startswith("requests"):
        return True
    return isinstance(error, OSError) and error.errno is None and NETWORK.search(str(error)) is not None


def refused_by_hive(error: BaseException) -> bool:
    """Whether a Hive metastore has said no, for good: nothing was changed."""
    bad = isinstance(error, TException) and "IllegalArgumentException" in str(error)
    return bad or isinstance(error, InvalidOperationException)


def line_of(error: BaseException) -> str:
    """The first line of an error; of a database's its own words, not the statement and its parameters."""
    if isinstance(error, TException):
        text = " ".join(str(getattr(error, "message", "") or error).split())
        return f"{text} {HIVE_2}" if "with local time zone" in text else text
    text = str(error.orig) if isinstance(error, DatabaseError) else str(error)
    return (text.strip().splitlines() or [type(error).__name__])[0]
