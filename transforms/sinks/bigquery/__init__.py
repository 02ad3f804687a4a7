"""BigQuery as a target."""

from typing import Final

from ..shared.guarantees import Promise
from ..spec import SinkSpec
from .options import BigQueryOptions

SPEC: Final = SinkSpec(
    name="bigquery",
    sink=f"{__name__}.sink:BigQuerySink",
    options=BigQueryOptions,
    extra="bigquery",
    libraries=("google", "grpc"),
    exceptions={
        Promise.ATOMIC: "rows first, the ledger after them: readers may see a part of a commit; what a crash between "
        "them repeats changes nothing",
        Promise.COUNTS: "BigQuery compares positions itself and does not say which changes it refused: they count as "
        "applied",
        Promise.TIES: "the one that comes later stays: it is the same change, read again",
        Promise.RETENTION: "BigQuery remembers deletes itself; for how long is not for Millrace to set",
        Promise.NULL_KEYS: "the table stops",
        Promise.ANY_KEY: "no floats and no times of day in a key, and at most 16 columns: the table stops",
        Promise.REWRITES: "the table stops, and says what to do",
        Promise.YEARS: "years 1 to 9999: the table stops",
        Promise.RENAMES: "the job is refused; the values stay in the column of the old name",
        Promise.RESYNCS: "no step of BigQuery changes rows and ledger together: `resync` refuses it; fill the table "
        "anew beside",
        Promise.REWINDS: "its ledger keeps the largest offset: `rewind` refuses it; fill the table anew beside",
    },
)
