"""What a job file says of tables in memory."""

from datetime import timedelta

from pydantic import Field

from ....schemas.options import Duration, Options


class MemoryOptions(Options):
    """Which tables of the process, and how long a delete is remembered."""

    name: str = Field("memory", description="The name that the test gave its MemorySink.")
    tombstone_retention: Duration = timedelta(days=7)
