"""What `import millrace` gives, collected; `millrace/__init__.py` imports from here when a name is first used."""

from .pipelines.cli.check import check
from .pipelines.cli.verify import verify_job
from .pipelines.execution.own_pipeline import ApplyChanges, ReadChanges
from .pipelines.execution.progress import Progress
from .pipelines.execution.run_passes import run as run_passes
from .pipelines.execution.summary import Summary
from .pipelines.job.load import load_job
from .pipelines.job.model import Job
from .schemas.encodings.encoding import Encoding, EncodingSpec
from .schemas.envelopes.envelope import Envelope, EnvelopeSpec
from .schemas.errors import (
    JobError,
    LostOffsetsError,
    MillraceError,
    MissingExtraError,
    RegistryError,
    SinkError,
    SourceError,
    TableError,
)
from .transforms.proof.report import Report
from .transforms.sinks import Sink, SinkSpec
from .transforms.sinks.memory.sink import MemorySink
from .transforms.sources.scripted.source import ScriptedSource
from .transforms.sources.source import Source, SourceSpec

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
    "check",
    "load_job",
    "run",
    "verify",
]


def run(job: Job, *, quiet: bool = True) -> Summary:
    """Sync the job's topics into its target up to the ends that they have now, in this process.

    A table that stops is in the summary (`failed`, `tables[...].error`). Raises JobError, SourceError, SinkError for
    what stops the whole run. `quiet` False shows progress on stderr.
    """
    with Progress(quiet=quiet) as progress:
        return run_passes(job, once=True, progress=progress)


def verify(job: Job) -> list[Report]:
    """Prove each table of the job against its source: a report a table, whose `ok` tells whether they are equal.

    Raises SourceError where the topics cannot be listed, SinkError where the target cannot be opened.
    """
    return list(verify_job(job))
