"""The parts of a job, made from its file: nothing is opened yet, and all of them may travel to workers."""

from ...schemas.encodings import ENCODINGS
from ...schemas.envelopes import ENVELOPES
from ...schemas.options import Options
from ...transforms.steps.decode import Format
from ..job.model import Job


def format_of(job: Job) -> Format:
    """The encoding and envelope of the job's messages. Raises JobError for a folder of schemas that cannot be read."""
    avro = ENCODINGS.find("avro")
    encoding = avro.open(avro.options.model_validate({"framing": job.format.framing}), job.format.contracts())
    return Format(encoding=encoding, envelope=ENVELOPES.find(job.format.type).open(Options()))
