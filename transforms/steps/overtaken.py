"""Dead letters that a later message of their key has overtaken, though their position is the higher one.

A row of a snapshot is placed above what stood before it in the log and could be read. The position of a letter could
not, so a letter that comes in again may be above a snapshot that is newer. Within a partition the log tells: a row that
a later message wrote is newer, for what is streamed with a lower position repeats what came before.
"""

from collections import Counter
from typing import Final

import numpy as np
import pyarrow as pa

from ...schemas.model.change import POSITION, SOURCE
from ...schemas.model.ledger import Ledger
from ...schemas.model.modes import Mode
from ...schemas.model.position import unpack
from ...schemas.model.route import OnTwoSources, OrderBy, Route
from ...schemas.model.spelling import respelled_names
from ...schemas.model.table import cast, widened
from ..sinks import Sink
from ..sinks.shared.key_index import KeyIndex
from ..sinks.shared.lookup import columns_of, find_rows

MODES: Final = (Mode.MIRROR, Mode.SOFT_DELETE)
OFFSET: Final = 3
"""The number of a position that is the offset."""


def log_tells(route: Route, ledger: Ledger) -> bool:
    """Whether all changes of a key stand in one partition: no other key is named, and no partitions were added."""
    ordered = route.order_by is OrderBy.POSITION and route.on_two_sources is not OnTwoSources.NEWEST_TIME
    if route.mode not in MODES or not ordered or len(route.topics) != 1:
        return False
    begun = {mark.partitions for mark in ledger.marks.values() if mark.partitions}
    return len(route.sources) == 1 or (route.key is None and begun <= {len(route.sources)})


def not_overtaken(
    sink: Sink, table: str, key: tuple[str, ...], changes: pa.RecordBatch
) -> tuple[pa.RecordBatch, Counter[int]]:
    """The changes without those whose row in the target a later message of the same epoch wrote.

    And how many were left out, by source number. Raises SinkError.
    """
    held = columns_of(sink, table)
    if held is None or not changes.num_rows:
        return changes, Counter()
    mine = pa.Table.from_batches([changes]).select(list(key))
    names = respelled_names(key, held.names)
    wanted = mine.group_by(list(key)).aggregate([]).rename_columns(list(names))
    rows = find_rows(sink, table, wanted, [*names, POSITION])
    if not len(rows):
        return changes, Counter()
    # A key that has widened meanwhile is the same key.
    kinds = [widened(rows.field(at).type, mine.field(at).type) or rows.field(at).type for at in range(len(key))]
    index = KeyIndex([_cast(rows.column(at), kind) for at, kind in enumerate(kinds)])
    found, there = index.find([cast(mine.column(at).combine_chunks(), kind) for at, kind in enumerate(kinds)])
    stands = unpack(rows.column(POSITION).combine_chunks())[found]
    comes = unpack(changes.column(POSITION))[there]
    stays = np.ones(changes.num_rows, np.bool_)
    stays[there] = (stands[:, 0] != comes[:, 0]) | (stands[:, OFFSET] <= comes[:, OFFSET])
    gone = np.asarray(changes.column(SOURCE))[~stays]
    return changes.filter(pa.array(stays)), Counter(int(number) for number in gone if number >= 0)


def _cast(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    return pa.chunked_array([cast(chunk, kind) for chunk in column.chunks], kind)
