"""Debezium's envelope as the job's options say: whole, flat, or with documents."""

from ..envelope import Envelope
from .documents import DocumentEnvelope
from .envelope import DebeziumEnvelope
from .flat import FlatDebeziumEnvelope
from .options import DebeziumOptions


def open_envelope(options: DebeziumOptions) -> Envelope:
    """What reads the messages of a job with these options."""
    if options.documents:
        return DocumentEnvelope(options)
    return DebeziumEnvelope(options) if options.flat is None else FlatDebeziumEnvelope(options)
