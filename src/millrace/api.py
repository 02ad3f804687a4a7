"""What `import millrace` gives, collected; `millrace/__init__.py` imports from here when a name is first used.

The names are listed there; here each is imported under its own name (`X as X`), or is a function of this module.
"""

from .pipelines.cli.check import check as check
from .pipelines.cli.verify import verify_job
from .pipelines.execution.own_pipeline import ApplyChanges as ApplyChanges
from .pipelines.execution.own_pipeline import ReadChanges as ReadChanges
from .pipelines.execution.progress import Progress
from .pipelines.execution.run_passes import run as run_passes
from .pipelines.execution.summary import Summary as Summary
from .pipelines.job.load import load_job as load_job
from .pipelines.job.model import Job as Job
from .schemas.encodings.encoding import Encoding as Encoding
from .schemas.encodings.encoding import EncodingSpec as EncodingSpec
from .schemas.envelopes.envelope import Envelope as Envelope
from .schemas.envelopes.envelope import EnvelopeSpec as EnvelopeSpec
from .schemas.errors import JobError as JobError
from .schemas.errors import LostOffsetsError as LostOffsetsError
from .schemas.errors import MillraceError as MillraceError
from .schemas.errors import MissingExtraError as MissingExtraError
from .schemas.errors import RegistryError as RegistryError
from .schemas.errors import SinkError as SinkError
from .schemas.errors import SourceError as SourceError
from .schemas.errors import TableError as TableError
from .transforms.proof.report import Report as Report
from .transforms.sinks import Sink as Sink
from .transforms.sinks import SinkSpec as SinkSpec
from .transforms.sinks.memory.sink import MemorySink as MemorySink
from .transforms.sources.scripted.source import ScriptedSource as ScriptedSource
from .transforms.sources.source import Source as Source
from .transforms.sources.source import SourceSpec as SourceSpec


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
