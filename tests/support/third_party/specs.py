"""What the entry points lead to; nothing else is imported before it is used."""

from pydantic import Field

from millrace import EncodingSpec, EnvelopeSpec, SinkSpec, SourceSpec
from millrace.schemas.options import Location, Options


class LinesOptions(Options):
    """Where the files are."""

    folder: Location = Field(description="A folder with a file for each topic, a message a line.")


class JsonTablesOptions(Options):
    """Where the tables are."""

    path: Location = Field(description="A folder.")


SOURCE = SourceSpec(name="lines", source=f"{__package__}.source:LineSource", options=LinesOptions)
ENCODING = EncodingSpec(name="pairs", encoding=f"{__package__}.encoding:PairsEncoding")
ENVELOPE = EnvelopeSpec(
    name="signs", envelope=f"{__package__}.envelope:SignsEnvelope", proof={"pairs": f"{__package__}.proof:SignedPairs"}
)
SINK = SinkSpec(name="pickles", sink=f"{__package__}.sink:PickleSink", options=JsonTablesOptions)
