"""Delta Lake as a target."""

from typing import Final

from ..spec import SinkSpec
from .options import DeltaOptions

SPEC: Final = SinkSpec(
    name="delta",
    sink=f"{__name__}.sink:DeltaSink",
    options=DeltaOptions,
    extra="delta",
    libraries=("deltalake",),
)
