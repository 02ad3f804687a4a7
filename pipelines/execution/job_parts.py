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
    kafka = SOURCES.find("kafka")
    settings = {"bootstrap_servers": job.source.kafka.bootstrap_servers, "client": job.source.kafka.client}
    return kafka.open(kafka.options.model_validate(settings))


def format_of(job: Job) -> Format:
    """How the job's blocks are decoded. Raises JobError for a folder of schemas that cannot be read."""
    avro = ENCODINGS.find("avro")
    encoding = avro.open(avro.options.model_validate({"framing": job.format.framing}), job.format.contracts())
    return Format(source=source_of(job), encoding=encoding, envelope=ENVELOPES.find(job.format.type).open())


def target_of(job: Job) -> Target:
    """The target of the job's tables."""
    return Target(job.target.type, job.target.settings())
