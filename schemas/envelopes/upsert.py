"""Plain upserts: the value is the row, a null value deletes; the place in the log is the order."""

import numpy as np
import pyarrow as pa

from ..model.change import UPSERT
from ..model.route import Route
from ..options import Options
from .envelope import Envelope, Events


class UpsertEnvelope(Envelope):
    """The key is the message key's fields, or the route's columns.

    Key fields that the value lacks become columns too. A message key that is no record (one string, say) is the
    column `key`, or the route's only key column.
    """

    null_deletes = True

    def __init__(self, options: Options) -> None:
        """There are no options."""

    def events(self, value: pa.StructArray, route: Route) -> Events:
        return Events(what=np.full(len(value), UPSERT, np.int8), row=value)
