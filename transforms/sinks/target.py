"""The target of a job, as workers open it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...schemas.secrets import resolved
from . import Sink, open_sink


@dataclass(frozen=True, slots=True)
class Target:
    """A sink to open in a worker: the job file's `target`, secrets still as references."""

    type: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def open(self) -> Sink:
        return open_sink(self.type, resolved(self.options))
