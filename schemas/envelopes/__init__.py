"""Envelopes: what a decoded message says happened to which row. Here is the registry, the contract in `envelope`."""

from typing import Final

from ..plugins import Plugins
from .debezium.options import DebeziumOptions
from .envelope import EnvelopeSpec

ENVELOPES: Final = Plugins(
    "millrace.envelopes",
    "format.envelope",
    (
        EnvelopeSpec(name="debezium", envelope=f"{__name__}.debezium.opening:open_envelope", options=DebeziumOptions),
        EnvelopeSpec(name="upsert", envelope=f"{__name__}.upsert:UpsertEnvelope"),
    ),
)
