"""Snapshot rows are raised above what their own connector has streamed, whatever the positions of another."""

import numpy as np
import pyarrow as pa

from millrace.schemas.merging.log_order import Committed, in_log_order, repeated
from millrace.schemas.model.change import AFTER_TYPE
from millrace.schemas.model.connector_mark import ConnectorMark
from millrace.schemas.model.source_mark import SourceMark, connector_number

EAST, WEST, UNKNOWN = connector_number("east"), connector_number("west"), 0
BOTH = SourceMark({"east": ConnectorMark((900, 5), 1), "west": ConnectorMark((7, 2), 1)})


def placed(mark, *afters):
    """The (commit order, order inside it) of rows of keys of their own, each read behind (commit, inner, connector)."""
    n = len(afters)
    words = [None if one is None else b"".join(number.to_bytes(8, "big") for number in one) for one in afters]
    positions = np.zeros((n, 4), np.uint64)
    positions[:, 3] = np.arange(n)
    keys, sources = np.arange(n, dtype=np.int32), np.zeros(n, np.int32)
    found = in_log_order(positions, pa.array(words, AFTER_TYPE), keys, sources, Committed({0: mark.highest}))
    return [tuple(int(word) for word in row[1:3]) for row in found]


def test_a_row_stands_behind_what_its_own_connector_committed():
    rows = (0, 0, EAST), (0, 0, WEST), (8, 1, WEST), (3, 3, connector_number("new")), None
    assert placed(BOTH, *rows) == [(900, 6), (7, 3), (8, 2), (3, 4), (0, 0)]


def test_a_tombstone_stands_behind_all_where_there_is_one_connector():
    one = SourceMark({"west": BOTH.connectors["west"]})
    assert placed(one, (0, 0, UNKNOWN), (9, 0, UNKNOWN)) == [(7, 3), (9, 1)]
    assert placed(BOTH, (0, 0, UNKNOWN), (9, 0, UNKNOWN)) == [(0, 0), (0, 0)]


def test_a_new_change_of_the_connector_with_lower_positions_is_no_repetition():
    positions = np.array([[0, 7, 2, 1], [0, 8, 0, 2], [0, 0, 0, 3]], np.uint64)
    found = repeated(positions, np.zeros(3, np.int32), Committed({0: BOTH.highest}))
    assert found.tolist() == [True, False, False]
