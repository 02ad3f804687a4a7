"""The target of a job, as workers open it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...schemas.options import Options
from ...schemas.secrets import resolved
from . import Sink, open_sink


@dataclass(frozen=True, slots=True)
class Target:
    """A sink to open in a worker: the job file's `target`, secrets still as references."""

    type: str
    options: Options | Mapping[str, Any] = field(default_factory=dict)

    def open(self) -> Sink:
        given = self.options
        return open_sink(self.type, given.resolved() if isinstance(given, Options) else resolved(given))
