"""How a job's messages are decoded. This imports the compiled loops; what needs none of them does without."""

from ...schemas.encodings import ENCODINGS
from ...schemas.envelopes import ENVELOPES
from ...transforms.steps.block_decoders import BlockDecoders
from ..job.model import Job
from .job_parts import source_of, target_of


def decoders_of(job: Job) -> BlockDecoders:
    """How the job's blocks are decoded. Raises JobError for a folder of schemas that cannot be read."""
    if job.source.typed:
        return BlockDecoders(source=source_of(job))
    written = job.format
    schemas = written.schema_store() if written.registry is not None or written.schemas is not None else None
    return BlockDecoders(
        source=source_of(job),
        encoding=ENCODINGS.find(written.encoding).open(written.encoding_options, schemas),
        envelope=ENVELOPES.find(written.envelope).open(written.envelope_options),
        target=target_of(job),
    )
