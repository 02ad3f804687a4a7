"""The parts of a job, made from its file: nothing is opened yet, and all of them may travel to workers."""

from ...transforms.sinks.target import Target
from ...transforms.sources import SOURCES
from ...transforms.sources.source import Source
from ..job.model import Job


def source_of(job: Job) -> Source:
    """The source of the job's changes. Raises JobError for options that cannot work."""
    return SOURCES.find(job.source.type).open(job.source.options)


def target_of(job: Job) -> Target:
    """The target of the job's tables."""
    return Target(job.target.type, job.target.options)
