"""What a job file says of its Protobuf."""

from enum import StrEnum

from pydantic import Field

from ...options import Options


class ProtobufFraming(StrEnum):
    """What stands before each message."""

    CONFLUENT = "confluent"
    """The id of the schema in a registry, and which message of the file it is."""
    BARE = "bare"
    """Nothing: one file of the folder, and one message of it, for all values of a topic."""


class ProtobufOptions(Options):
    """`message` and `key_message` are for bare data."""

    framing: ProtobufFraming = Field(
        default=ProtobufFraming.CONFLUENT, description="What stands before each message: a registry's id, or nothing."
    )
    message: str | None = Field(
        default=None, description="The full name of the values' message, where a file has several: shop.Order."
    )
    key_message: str | None = Field(default=None, description="The full name of the keys' message.")
