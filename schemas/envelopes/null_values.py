"""Messages without a value: deletes of the row of their key, or what follows a delete."""

import numpy as np
import pyarrow as pa

from ..encodings.message_reader import Group
from ..model.change import DELETE
from ..model.change_batch import ChangeColumns, change_batch
from ..model.position import pack
from ..model.representable import represented_key
from .decode_context import DecodeContext
from .envelope import fields_of
from .key_columns import KeyedRows, message_key
from .refused_rows import refuse
from .tombstones import lone_tombstones


def null_values(context: DecodeContext, group: Group) -> None:
    """Messages without a value: deletes, or what follows a delete and says nothing new."""
    alone = np.ones(len(group.rows), np.bool_)
    if not context.envelope.null_deletes:
        alone = lone_tombstones(context.messages, group.rows, context.places)
    context.done.filtered += int((~alone).sum())
    rows = group.rows[alone]
    if not len(rows):
        return
    fields = {}
    if group.key is not None and len(rows):
        found_key = represented_key(group.key.take(pa.array(np.flatnonzero(alone))), context.route.on_unrepresentable)
        refused = refuse(context, group, np.flatnonzero(alone), [found_key])
        kept = np.ones(len(rows), np.bool_) if refused is None else ~refused
        rows, fields = rows[kept], fields_of(found_key.struct.filter(pa.array(kept)))
        if not len(rows):
            return
    key, columns = message_key(fields, context.route.key, any_name=context.envelope.null_deletes)
    if columns is None:
        error = "a tombstone without the key of the row that it deletes"
        context.failures.add_all(rows, "apply", error, group.schema_id)
        return
    context.done.key = key
    zeros = np.zeros(len(rows), np.uint64)
    commit, inner = context.moment(rows) if context.by_time else (zeros, zeros)
    # The next best to the source's clock, which a tombstone does not tell.
    clock = context.moment(rows)[0] if context.by_clock else None
    position = pack(commit, inner, context.messages.offset[rows], clock)
    found = KeyedRows(columns, np.ones(len(rows), np.bool_), rows, position)
    if context.envelope.null_deletes:
        found = found.with_whole_keys(key, context.failures, group.schema_id)
    if not len(found.rows):
        return
    op = np.full(len(found.rows), DELETE, np.int8)
    marks = ChangeColumns(op=op, position=found.position, source=context.source, time=context.time(found.rows))
    if not (context.envelope.null_deletes or context.by_time or context.by_clock):
        context.unordered.append((len(context.done.changes), found.rows, np.ones(len(found.rows), np.bool_)))
    context.done.changes.append(change_batch(found.columns, marks))
