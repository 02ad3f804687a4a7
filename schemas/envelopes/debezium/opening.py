"""Debezium's envelope as the job's options say: whole, or flat."""

from ..envelope import Envelope
from .envelope import DebeziumEnvelope
from .flat import FlatDebeziumEnvelope
from .options import DebeziumOptions


def open_envelope(options: DebeziumOptions) -> Envelope:
    """What reads the messages of a job with these options."""
    return DebeziumEnvelope(options) if options.flat is None else FlatDebeziumEnvelope(options)
