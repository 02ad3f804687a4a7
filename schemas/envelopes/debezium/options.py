"""What a job file may say of Debezium's envelope."""

from typing import Literal, Self

from pydantic import Field, model_validator

from ...options import Options, mistake
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
    documents: bool = Field(
        default=False, description="messages are documents of MongoDB: after is a text, the whole document as JSON"
    )

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if self.documents and self.flat is not None:
            raise mistake("documents of MongoDB have no flat form: leave it out", "flat")
        return self
