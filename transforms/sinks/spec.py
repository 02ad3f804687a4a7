"""What is known of a target before its client library is imported: its options, its modes, what it cannot promise."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...schemas.model.modes import Mode
from ...schemas.options import Options, read_options
from ...schemas.plugins import imported
from .shared.guarantees import Promise
from .sink import Sink


@dataclass(frozen=True, kw_only=True)
class SinkSpec:
    """A target of the registry. Each connector's folder holds one, `SPEC`, in a module that imports no client library.

    name            `target.type` of the job file
    sink            "module:Class", imported when the sink is opened; called with the options
    options         the model of the keys below `target`, without `type` and `mode`
    extra           the extra of Millrace that brings its client library; None where it needs none
    libraries       top-level modules that only this connector's folder imports
    modes           what it can keep of a change stream, the default first
    exceptions      the promises that it does not keep, and what it does instead
    one_process     it lives in one process of one machine, so a cluster's workers cannot share it
    files           options that name a file of the machine where the job file is
    ports           what its servers listen on unless the options say otherwise
    """

    name: str
    sink: str
    options: type[Options]
    extra: str | None = None
    libraries: tuple[str, ...] = ()
    modes: tuple[Mode, ...] = tuple(Mode)
    exceptions: Mapping[Promise, str] = field(default_factory=dict)
    one_process: bool = False
    files: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()

    def open(self, options: Options | Mapping[str, Any]) -> Sink:
        """The sink with these options, references in them resolved already.

        Raises MissingExtraError, and JobError for options that the target cannot have.
        """
        made: Any = imported(self.sink, f"target.type: {self.name}", self.extra)
        given = options if isinstance(options, Options) else read_options(self.options, options)
        sink: Sink = made(given)
        return sink
