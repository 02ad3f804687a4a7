"""A log in the memory of this process, as a source: for tests of jobs and of one's own transforms."""

from typing import Final

from ..source import SourceSpec
from .options import ScriptedOptions

SPEC: Final = SourceSpec(name="scripted", source=f"{__name__}.source:open_source", options=ScriptedOptions)
