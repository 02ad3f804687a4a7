"""Gathering: what is compacted before the shuffle gives the same delta and the same counts as all at once."""

import time
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from apache_beam.utils.timestamp import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.schemas.merging.newest_by_key import newest_changes
from millrace.schemas.model.change_batch import ChangeColumns, change_batch
from millrace.schemas.model.position import pack
from millrace.transforms.steps import early_merge
from millrace.transforms.steps.decode import by_shard, by_window
from millrace.transforms.steps.early_merge import EarlyMerge, superseded_before, table_key


def batch(keys, first=0, source=0, **marks):
    zeros, count = np.zeros(len(keys), np.uint64), len(keys)
    position = pack(zeros, zeros, np.arange(first, first + count))
    columns = {"id": pa.array(keys, pa.int64()), "at": pa.array(np.arange(first, first + count))}
    return change_batch(columns, ChangeColumns(op=np.zeros(count, np.int8), position=position, source=source, **marks))


@settings(max_examples=100)
@given(
    st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=8), min_size=1, max_size=8),
    st.integers(1, 20),
    st.integers(1, 4),
)
def test_gathered_then_compacted_is_compacted(lists, most, shards):
    batches, first = [], 0
    for number, keys in enumerate(lists):
        batches.append(batch(keys, first, number % 2))
        first += len(keys)
    whole = newest_changes("t", ("id",), batches)
    gathering, released = EarlyMerge(), []
    before, early_merge.MOST_ROWS = early_merge.MOST_ROWS, most
    for part in batches:
        gathering.add("t", ("id",), 0.0, part)
        released += gathering.full()
    released += gathering.all()
    early_merge.MOST_ROWS = before
    found, superseded = {}, Counter()
    for shard in range(shards):
        pieces = [piece for _, _, part in released for number, piece in by_shard(part, shards) if number == shard]
        for piece in pieces:
            superseded.update(superseded_before(piece))
        if pieces:
            done = newest_changes("t", table_key(pieces[0]), pieces)
            superseded.update(done.superseded)
            found.update(zip(done.delta.column("id").to_pylist(), done.delta.column("at").to_pylist(), strict=True))
    assert found == dict(zip(whole.delta.column("id").to_pylist(), whole.delta.column("at").to_pylist(), strict=True))
    assert dict(superseded) == whole.superseded


def test_partial_rows_travel_as_they_are():
    gathering = EarlyMerge()
    missing = pa.array([["at"], None], pa.list_(pa.string()))
    for part in (batch([1, 1]), batch([1, 1], 2, unavailable=missing)):
        gathering.add("t", ("id",), 0.0, part)
    assert [part.num_rows for _, _, part in gathering.all()] == [2, 2]


def test_where_little_is_superseded_the_next_batches_are_not_compacted():
    gathering = EarlyMerge()
    for first in (0, 100):
        gathering.add("t", ("id",), 0.0, batch(range(first, first + 100)))
    assert [part.num_rows for _, _, part in gathering.all()] == [200]
    gathering.add("t", ("id",), 0.0, batch([1] * 50))
    assert [part.num_rows for _, _, part in gathering.all()] == [50]


def test_windows_by_event_time_cut_the_changes():
    changes = batch([1, 2, 3, 4], time=np.array([999, 1000, -1, 2500]))
    found = {start: part.column("id").to_pylist() for start, part in by_window(changes, 1000)}
    assert found == {0.0: [1], 1.0: [2], -1.0: [3], 2.0: [4]}


@pytest.mark.parametrize("far", [1_700_000_000_000_000, 1_700_000_000_000_000_000, (1 << 63) - 1, -(1 << 63)])
def test_a_time_in_another_unit_makes_no_window_beyond_the_clock(far):
    """Beam holds no time of that size: one such record would end the job."""
    changes = batch([1, 2], time=np.array([1_000, far]))
    starts = [start for start, _ in by_window(changes, 1000)]
    assert all(-1 <= start <= time.time() for start in starts)
    assert all(Timestamp.of(start) for start in starts if start)
