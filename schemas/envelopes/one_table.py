"""What a job file says of topics that hold several tables of the source."""

from pydantic import Field

from ..options import Options


class OneTable(Options):
    """Options of envelopes whose messages name the table that they are of."""

    only: str | None = Field(
        default=None,
        min_length=1,
        description="the table of the source (SCHEMA.TABLE, `*` for any letters) that is read of a topic with several",
    )
