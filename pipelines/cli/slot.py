"""`millrace slot`: what keeps a database's log for the job is made and dropped."""

from collections.abc import Sequence
from contextlib import closing

from ...schemas.errors import JobError
from ...transforms.sources.database import Advice, KeepsLog
from ...transforms.sources.source import SourceConnection
from ..execution.job_parts import source_of
from ..execution.start_offsets import find_routes
from ..job.model import Job

CREATE = "create"


def slot(job: Job, action: str) -> list[str]:
    """Make or drop it; a sentence on each part. Raises JobError for a source without one, SourceError."""
    with closing(source_of(job)) as source, closing(source.connect()) as connection:
        if not isinstance(connection, KeepsLog):
            raise JobError(f"{job.file}: a source of type {job.source.type} keeps no log for the job")
        if action == CREATE:
            return list(connection.make(sorted(find_routes(job, connection))))
        return list(connection.drop())


def kept(connection: SourceConnection) -> Sequence[Advice]:
    """What the source keeps for the job, and how much of its log that holds back."""
    return connection.kept() if isinstance(connection, KeepsLog) else ()
