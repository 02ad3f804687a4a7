"""Change streams in, correct tables out: Beam jobs that keep tables equal to their source.

The public face is the names of `__all__`; each is imported when it is first used, so that `import millrace` costs
nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import *

__version__ = "0.1.0"

__all__ = [
    "ApplyChanges",
    "Encoding",
    "EncodingSpec",
    "Envelope",
    "EnvelopeSpec",
    "Job",
    "JobError",
    "LostOffsetsError",
    "MemorySink",
    "MillraceError",
    "MissingExtraError",
    "ReadChanges",
    "RegistryError",
    "Report",
    "ScriptedSource",
    "Sink",
    "SinkError",
    "SinkSpec",
    "Source",
    "SourceError",
    "SourceSpec",
    "Summary",
    "TableError",
    "__version__",
    "check",
    "load_job",
    "run",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(f"{__name__}.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
