"""What a job file says of its JSON."""

from enum import StrEnum

from pydantic import Field

from ...options import Options


class JsonFraming(StrEnum):
    """Where the schema of a message is."""

    EMBEDDED = "embedded"
    """In each message, as Kafka Connect's converter writes it with `schemas.enable=true`."""
    PLAIN = "plain"
    """Nowhere: the columns are declared in the job file, or inferred."""


class JsonDecimals(StrEnum):
    """How a text stands for a decimal, in messages without a schema."""

    STRING = "string"
    PRECISE = "precise"


class JsonBinary(StrEnum):
    """How a text stands for bytes, in messages without a schema."""

    BASE64 = "base64"
    BASE64_URL = "base64_url"
    HEX = "hex"


class JsonOptions(Options):
    """`decimals` and `binary` are for `framing: plain`: Debezium's `decimal.handling.mode`, `binary.handling.mode`."""

    framing: JsonFraming = Field(
        default=JsonFraming.EMBEDDED, description="Where the schema is: embedded in each message, or nowhere (plain)."
    )
    decimals: JsonDecimals = Field(
        default=JsonDecimals.STRING, description="How a text is a decimal: its digits, or the base64 of its bytes."
    )
    binary: JsonBinary = Field(default=JsonBinary.BASE64, description="How a text is binary.")
