"""TRUNCATEs of a block: what the job says they do to the table."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..encodings.message_reader import Group
from ..errors import TruncateError
from ..model.change import DELETE
from ..model.change_batch import ChangeColumns, change_batch, take_positions
from ..model.route import OnTruncate
from .decode_context import DecodeContext


def truncates(context: DecodeContext, group: Group, rows: NDArray[np.int64], position: pa.Array) -> None:
    """Note the TRUNCATEs at `rows` of the group. Raises TruncateError where none may come."""
    if not len(rows):
        return
    messages, route, done = context.messages, context.route, context.done
    if route.on_truncate is OnTruncate.FAIL:
        raise TruncateError(
            f"table {route.table}: a TRUNCATE stands at {messages.topic}[{messages.partition}] offset "
            f"{messages.offset[group.rows[rows[0]]]}; say in the job file under tables what it does: "
            "on_truncate: apply (empties the table) or on_truncate: ignore"
        )
    if route.on_truncate is OnTruncate.IGNORE:
        done.filtered += len(rows)
        return
    newest = max(position[int(row)].as_py() for row in rows)
    done.truncates += len(rows)
    done.truncate = max(newest, done.truncate or b"")
    marks = ChangeColumns(
        op=np.full(len(rows), DELETE, np.int8),
        position=take_positions(position, rows),
        source=context.source,
        time=context.time(group.rows[rows]),
    )
    done.emptied.append(change_batch({}, marks))
