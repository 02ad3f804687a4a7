"""A key of the job's own (`tables.key`): whether the changes bear what tells that a row left its key."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..encodings.message_reader import Group
from ..errors import TableError
from .decode_context import DecodeContext
from .envelope import Events

UNKNOWN_BEFORE: Final = (
    "table {table}: key: [{key}] in the job file is not the key of the messages, and the change at {place} does not "
    "say what the row had there before it, so a row that leaves its key would stay under the old one. {advice}"
)


def check_before(context: DecodeContext, group: Group, events: Events, wrong: NDArray[np.bool_]) -> None:
    """Raise TableError where the row before an update should bear the route's key and does not.

    A delete without it is a dead letter, which is seen; an update would leave a row behind in silence. Where the
    message's key has these columns, the connector sends a delete for a row that leaves its key.
    """
    key, before = context.route.key, events.before
    if key is None or events.rewrites is None:
        return
    rewrites = events.rewrites & ~wrong
    if before is not None and rewrites.any():
        bears = np.asarray(before.is_valid())
        for name in key:
            known = before.type.get_field_index(name) >= 0
            bears &= np.asarray(before.field(name).is_valid()) if known else False
        rewrites &= ~bears
    lacking = np.flatnonzero(rewrites)
    if not len(lacking) or set(key) <= context.message_key():
        return
    messages = context.messages
    place = f"{messages.topic}[{messages.partition}] offset {messages.offset[group.rows[lacking[0]]]}"
    advice = context.envelope.before_advice
    raise TableError(UNKNOWN_BEFORE.format(table=context.route.table, key=", ".join(key), place=place, advice=advice))
