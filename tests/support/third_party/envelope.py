"""An envelope of signs: `+` puts the row there, `-` takes it away."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace import Envelope
from millrace.schemas.envelopes.envelope import DELETE, UPSERT, Events
from millrace.schemas.model.route import Route
from millrace.schemas.options import Options


class SignsEnvelope(Envelope):
    """Keeps the contract of an envelope."""

    def __init__(self, options: Options) -> None:
        """There are no options."""

    def events(self, value: pa.StructArray, route: Route) -> Events:
        sign = value.field("sign")
        row = pa.StructArray.from_arrays([value.field("id"), value.field("name")], ["id", "name"])
        deletes, known = np.asarray(pc.equal(sign, "-")), np.asarray(pc.is_in(sign, pa.array(["+", "-"])))
        what = np.where(deletes, DELETE, UPSERT).astype(np.int8)
        return Events(what=what, row=row, before=row, wrong=[(~known, "a sign is + or -")])
