"""Change streams in, correct tables out: Beam jobs that keep tables equal to their source.

The public face is the names of `__all__`; each is imported when it is first used, so that `import millrace` costs
nothing.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def _without_beams_warning() -> Iterator[None]:
    """Beam warns at its import that a client of BigQuery is missing which Millrace does not use.

    It does so by `logging.warning`, which also gives a root logger without handlers one: that is taken back.
    """

    def told(record: logging.LogRecord) -> bool:
        return "apitools not found" not in record.getMessage()

    root = logging.getLogger()
    before = list(root.handlers)
    root.addFilter(told)
    try:
        yield
    finally:
        root.removeFilter(told)
        if not before:
            for handler in list(root.handlers):
                root.removeHandler(handler)


def __getattr__(name: str) -> Any:
    if name in __all__:
        with _without_beams_warning():
            api = import_module(f"{__name__}.api")
        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
