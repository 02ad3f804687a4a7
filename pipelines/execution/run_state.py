"""What one run of a job knows while it goes on."""

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ...schemas.errors import MillraceError
from ...schemas.model.route import Route
from ...transforms.dead_letters import DeadLetterFiles
from ...transforms.sinks import Sink
from ...transforms.sinks.target import Target
from ...transforms.sources.source import SourceConnection
from ...transforms.stop_notes import StopNotes
from ..job.model import Job
from .beside import Beside
from .pass_ranges import PassSizer
from .progress import Progress
from .start_offsets import find_routes
from .summary import Summary

if TYPE_CHECKING:
    from .bounded_pass import Passes


@dataclass(slots=True)
class Run:
    """One run of a job; `failed` are the tables that stopped, and why: the others go on. `noted` bear the note of
    an earlier run, `told` that of this one. `begun`: the ledger of some table has learned of a new epoch, so that the
    table is read again from its ledger. `beside`: one table alone is built, under another name.
    """

    job: Job
    connection: SourceConnection
    sink: Sink
    progress: Progress
    target: Target
    dead_letters: DeadLetterFiles
    summary: Summary
    stop: threading.Event
    once: bool
    passes: "Passes | None" = None
    budget: PassSizer = field(default_factory=PassSizer)
    failed: dict[str, MillraceError] = field(default_factory=dict)
    noted: set[str] = field(default_factory=set)
    told: set[str] = field(default_factory=set)
    all_stopped: bool = False
    begun: bool = False
    beside: Beside | None = None

    def routes(self) -> dict[str, Route]:
        """What the job reads now."""
        found = find_routes(self.job, self.connection)
        return found if self.beside is None else self.beside.routes(found)

    @property
    def notes(self) -> StopNotes:
        return StopNotes(self.job.dead_letters, self.job.job)
