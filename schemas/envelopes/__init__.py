"""Envelopes: what a decoded message says happened to which row. Here is the registry, the contract in `envelope`."""

from typing import Final

from ..plugins import Plugins
from .debezium.options import DebeziumOptions
from .dms.options import DmsOptions
from .envelope import EnvelopeSpec
from .one_table import OneTable

PROOF: Final = f"{__name__.partition('.')[0]}.transforms.proof.envelopes"
PLAIN: Final = {"encoding": "json", "framing": "plain"}

ENVELOPES: Final = Plugins(
    "millrace.envelopes",
    "format.envelope",
    (
        EnvelopeSpec(
            name="debezium",
            envelope=f"{__name__}.debezium.opening:open_envelope",
            options=DebeziumOptions,
            marks_snapshots=True,
            tells_clock=True,
        ),
        EnvelopeSpec(name="upsert", envelope=f"{__name__}.upsert:UpsertEnvelope"),
        EnvelopeSpec(
            name="maxwell",
            envelope=f"{__name__}.maxwell:MaxwellEnvelope",
            options=OneTable,
            proof={"json": f"{PROOF}.maxwell:MaxwellMessages"},
            short=PLAIN,
            only_short=True,
        ),
        EnvelopeSpec(
            name="canal",
            envelope=f"{__name__}.canal:CanalEnvelope",
            options=OneTable,
            proof={"json": f"{PROOF}.canal:CanalMessages"},
            several_changes=True,
            short=PLAIN,
            only_short=True,
        ),
        EnvelopeSpec(
            name="dms",
            envelope=f"{__name__}.dms.envelope:DmsEnvelope",
            options=DmsOptions,
            proof={"json": f"{PROOF}.dms:DmsMessages"},
            proof_options=("before_image",),
            short=PLAIN,
            only_short=True,
        ),
        EnvelopeSpec(
            name="goldengate",
            envelope=f"{__name__}.goldengate:GoldenGateEnvelope",
            options=OneTable,
            proof={"json": f"{PROOF}.goldengate:GoldenGateMessages"},
            short=PLAIN,
            only_short=True,
        ),
    ),
)
