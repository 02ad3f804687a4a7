"""Topics that may hold several tables of the source: a table of the target takes one of them."""

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..encodings.message_reader import Group
from ..errors import TableError
from .decode_context import DecodeContext
from .envelope import Events

OTHER_TABLE: Final = (
    "table {table}: {place} is a change of {name}, and the topic's name does not end with it: it may hold "
    "several tables. Say in the job file which one is read: only: {name} under format"
)


def selected(only: str | None, names: pa.StringArray) -> NDArray[np.bool_]:
    """Which of these tables are the one that is read; those without a name too, which are no rows or wrong."""
    if only is None:
        return np.ones(len(names), np.bool_)
    pattern = "".join("%" if letter == "*" else f"\\{letter}" if letter in "%_\\" else letter for letter in only)
    return np.asarray(pc.match_like(names, pattern).fill_null(True))


def full_names(first: pa.StringArray, second: pa.StringArray) -> pa.StringArray:
    """SCHEMA.TABLE of both parts; null where one of them is."""
    return pc.binary_join_element_wise(first, second, ".")


def check_tables(context: DecodeContext, group: Group, events: Events, wrong: NDArray[np.bool_]) -> None:
    """Raise TableError where a change is of a table that the topic is not named after, and no `only` says so."""
    if events.tables is None or not len(events.tables):
        return
    names = events.tables
    if pc.all(pc.equal(names, names[0]), skip_nulls=False).as_py() and _named_after(context, names[0].as_py()):
        return
    for name in pc.unique(names).to_pylist():
        if name is None or _named_after(context, name):
            continue
        found = np.flatnonzero(np.asarray(pc.equal(names, name).fill_null(False)) & ~wrong)
        if len(found):
            messages = context.messages
            place = f"{messages.topic}[{messages.partition}] offset {messages.offset[group.rows[found[0]]]}"
            raise TableError(OTHER_TABLE.format(table=context.route.table, place=place, name=name))


def _named_after(context: DecodeContext, name: str | None) -> bool:
    """Whether the topic's name is that of the table, or ends with it, whatever stands before."""
    if name is None:
        return False
    topic, table = context.messages.topic.casefold(), name.rpartition(".")[2].casefold()
    return topic.endswith(table) and not topic[: -len(table)][-1:].isalnum()
