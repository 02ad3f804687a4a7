"""What may pass is told by an error's number, or by the words of libraries that tell it in their texts alone."""

import errno

import pytest

from millrace.schemas.errors import TerminalSinkError, TransientSinkError
from millrace.transforms.sinks.shared.transient_errors import sink_error


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        OSError("Error writing bytes to file. Detail: [errno 28] No space left on device"),
        RuntimeError("Generic LocalFileSystem error: Unable to write: No space left on device (os error 28)"),
        RuntimeError("Client error with status 503 Slow Down: reduce your request rate"),
        RuntimeError("429 Too Many Requests"),
        RuntimeError("ThrottlingException: Rate exceeded"),
        RuntimeError('IO Error: Could not set lock on file "a.duckdb": Conflicting lock is held'),
        OSError("(sqlite3.OperationalError) database is locked"),
    ],
    ids=repr,
)
def test_room_quota_throttling_and_locks_may_pass(error):
    found = sink_error("place: said", error)
    assert isinstance(found, TransientSinkError)
    assert str(found) == "place: said"


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EACCES, "Permission denied"),
        OSError(errno.EROFS, "Read-only file system"),
        RuntimeError("IO Error: No files found that match the pattern"),
        RuntimeError("Client error with status 403 Forbidden"),
        RuntimeError("schema of 5030 columns does not match"),
    ],
    ids=repr,
)
def test_rights_and_mistakes_stay(error):
    assert isinstance(sink_error("place: said", error), TerminalSinkError)
