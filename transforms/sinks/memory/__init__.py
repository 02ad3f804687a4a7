"""Tables in the memory of this process as a target, for tests."""

from typing import Final

from ..spec import SinkSpec
from .options import MemoryOptions

SPEC: Final = SinkSpec(
    name="memory",
    sink=f"{__name__}.sink:open_memory",
    options=MemoryOptions,
    one_process=True,
)
