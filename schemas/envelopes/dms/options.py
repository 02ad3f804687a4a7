"""What a job file may say of messages of AWS DMS."""

from pydantic import Field

from ..one_table import OneTable


class DmsOptions(OneTable):
    """Keys of `format` beside the envelope's name."""

    before_image: str = Field(
        default="before-image",
        min_length=1,
        description="for dms: FieldName of the task's BeforeImageSettings, the field with what an update changed",
    )
    keys_change: bool = Field(
        default=True,
        description="for dms: whether keys may change at the source; then updates need a before image",
    )
