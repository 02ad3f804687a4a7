"""Compaction: any batching, order and duplication of changes gives the row that a dictionary gives."""

import random

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.schemas.merging.newest_by_key import newest_changes
from millrace.schemas.model.change import DELETE, OP, POSITION, SOURCE, UNAVAILABLE, UPSERT
from millrace.schemas.model.change_batch import ChangeColumns, change_batch
from millrace.schemas.model.position import pack

VALUES = st.none() | st.text(max_size=3)
CHANGES = st.lists(
    st.tuples(
        st.integers(0, 4),
        st.sampled_from([UPSERT, UPSERT, UPSERT, DELETE]),
        VALUES,
        st.none() | st.integers(-5, 5),
        st.sets(st.sampled_from(["name", "count"])),
    ),
    min_size=1,
    max_size=30,
)


def batch(changes, partial):
    places = [place for place, _ in changes]
    rows = [change for _, change in changes]
    columns = {
        "id": pa.array([row[0] for row in rows], pa.int64()),
        "name": pa.array([None if "name" in row[4] and partial else row[2] for row in rows], pa.string()),
        "count": pa.array([None if "count" in row[4] and partial else row[3] for row in rows], pa.int32()),
    }
    missing = [sorted(row[4]) or None if row[1] == UPSERT else None for row in rows]
    zeros = np.zeros(len(rows), np.uint64)
    marks = ChangeColumns(
        op=np.array([row[1] for row in rows], np.int8),
        position=pack(zeros, np.array(places, np.uint64), np.array(places)),
        source=0,
        unavailable=pa.array(missing, pa.list_(pa.string())) if partial else None,
    )
    return change_batch(columns, marks)


def folded(changes, partial):
    """Newest change of each key: (op, name, count, columns that no row of this life holds)."""
    held = {}
    for _, (key, op, name, count, missing) in sorted(changes, key=lambda change: change[0]):
        op_before, before, lost = held.get(key, (UPSERT, {}, {"name", "count"}))
        if op == DELETE:
            held[key] = (DELETE, {}, set())
            continue
        row, unknown = {"name": name, "count": count}, set()
        for column in missing if partial else ():
            alive = op_before == UPSERT
            row[column] = before.get(column) if alive else None
            if alive and column in lost:
                unknown.add(column)
        held[key] = (UPSERT, row, unknown)
    return held


@settings(max_examples=300, deadline=None)
@given(CHANGES, st.booleans(), st.randoms(use_true_random=False), st.integers(1, 5))
def test_any_batching_order_and_duplication_gives_the_same_rows(rows, partial, shuffle, parts):
    changes = list(enumerate(rows))
    if partial:
        repeated = list(changes)
    else:
        repeated = changes + shuffle.sample(changes, len(changes) // 2)
    shuffle.shuffle(repeated)
    cuts = sorted(shuffle.randrange(len(repeated) + 1) for _ in range(parts - 1))
    pieces = [repeated[a:b] for a, b in zip([0, *cuts], [*cuts, len(repeated)], strict=True)]
    done = newest_changes("t", ("id",), [batch(piece, partial) for piece in pieces if piece])
    expected = folded(changes, partial)
    found = {row["id"]: row for row in done.delta.to_pylist()}
    assert done.delta.num_rows == len(found) == len(expected)
    for key, (op, row, unknown) in expected.items():
        assert found[key][OP] == op
        last = max(place for place, change in changes if change[0] == key)
        assert found[key][POSITION][-8:] == last.to_bytes(8, "big")
        if op == UPSERT:
            assert {name: found[key][name] for name in row} == row
            assert set(found[key].get(UNAVAILABLE) or ()) == unknown
    assert done.superseded.get(0, 0) == len(repeated) - len(found)


def test_unaccounted_rows_are_not_counted():
    one, two = batch([(0, (1, UPSERT, "a", 1, set()))], False), batch([(1, (1, DELETE, None, None, set()))], False)
    two = two.set_column(two.schema.get_field_index(SOURCE), SOURCE, pa.array([-1], pa.int32()))
    done = newest_changes("t", ("id",), [one, two])
    assert done.superseded == {0: 1}
    assert done.delta.column(OP).to_pylist() == [DELETE]


def test_a_million_changes_are_compacted_in_columns():
    random.seed(1)
    count = 200_000
    keys = np.random.default_rng(1).integers(0, 20_000, count)
    zeros = np.zeros(count, np.uint64)
    marks = ChangeColumns(op=np.zeros(count, np.int8), position=pack(zeros, zeros, np.arange(count)), source=0)
    done = newest_changes("t", ("id",), [change_batch({"id": pa.array(keys), "n": pa.array(np.arange(count))}, marks)])
    newest = dict(zip(keys.tolist(), range(count), strict=True))
    assert dict(zip(done.delta.column("id").to_pylist(), done.delta.column("n").to_pylist(), strict=True)) == newest
