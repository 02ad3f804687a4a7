"""What a job file says of a scripted source."""

from pydantic import Field

from ....schemas.options import Options


class ScriptedOptions(Options):
    """Which log of the process."""

    name: str = Field("scripted", description="The name that the test gave its ScriptedSource.")
