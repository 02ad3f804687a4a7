"""Change logs of Parquet or Avro files as a target."""

from typing import Final

from ....schemas.model.modes import Mode
from ..shared.guarantees import Promise
from ..spec import SinkSpec
from .options import FilesOptions

SPEC: Final = SinkSpec(
    name="files",
    sink=f"{__name__}.sink:FilesSink",
    options=FilesOptions,
    modes=(Mode.APPEND,),
    exceptions={
        Promise.EVENT_TIME: "a log is written in the order of offsets: the job is refused",
        Promise.RESYNCS: "a log is only appended to: `resync` refuses it; write the log anew at another path",
        Promise.REPLAYS: "a log is written in the order of offsets: `dead-letters replay` refuses it; write the log "
        "anew at another path",
    },
)
