"""The parts of a job, made from its file: nothing is opened yet, and all of them may travel to workers."""

from ...schemas.encodings import ENCODINGS
from ...schemas.envelopes import ENVELOPES
from ...transforms.sinks.target import Target
from ...transforms.sources import SOURCES
from ...transforms.sources.source import Source
from ...transforms.steps.decode import Format
from ..job.model import Job


def source_of(job: Job) -> Source:
    """The source of the job's changes. Raises JobError for options that cannot work."""
    return SOURCES.find(job.source.type).open(job.source.options)


def format_of(job: Job) -> Format:
    """How the job's blocks are decoded. Raises JobError for a folder of schemas that cannot be read."""
    written = job.format
    schemas = written.contracts() if written.registry is not None or written.schemas is not None else None
    return Format(
        source=source_of(job),
        encoding=ENCODINGS.find(written.encoding).open(written.encoding_options, schemas),
        envelope=ENVELOPES.find(written.envelope).open(written.envelope_options),
    )


def target_of(job: Job) -> Target:
    """The target of the job's tables."""
    return Target(job.target.type, job.target.options)
