"""What a job file may say of Debezium's envelope."""

from typing import Literal

from pydantic import Field

from ...options import Options
from .placeholders import UNAVAILABLE_VALUE


class DebeziumOptions(Options):
    """Keys of `format` beside the envelope's name."""

    unavailable_value: str = Field(
        default=UNAVAILABLE_VALUE,
        min_length=1,
        description="the connector's unavailable.value.placeholder: what stands for a large value that was not sent",
    )
    flat: Literal["tombstone", "rewrite"] | None = Field(
        default=None,
        description="messages are flat: the delete.tombstone.handling.mode of the transform ExtractNewRecordState",
    )
