"""The table that a stream's columns ask for."""

import numpy as np
import pyarrow as pa

from ..envelopes.decoded import Decoded
from ..envelopes.topic_columns import TopicColumns
from ..model.change import POSITION_TYPE, row_schema
from ..model.change_batch import ChangeColumns, change_batch
from ..model.position import ZERO
from ..model.route import Route
from ..model.table import Table
from .renaming import of_table


def wanted_table(route: Route, found: TopicColumns) -> Table:
    """With the columns and the key of the route's mode, under the names of its table. Raises as `of_table`."""
    marks = ChangeColumns(
        op=np.zeros(1, np.int8), position=pa.array([ZERO], POSITION_TYPE), source=0, time=np.zeros(1, np.int64)
    )
    row = change_batch({field.name: pa.nulls(1, field.type) for field in found.columns}, marks)
    done = of_table(route, Decoded("", 0, 0, 1, found.key, changes=[row]))
    return Table(route.table, done.key, row_schema(done.changes[0].schema))
