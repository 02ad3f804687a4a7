"""Keys: equal keys have equal numbers and shards, however their schema grew."""

from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.schemas.model.key import number_keys, shard

KEYS = st.lists(
    st.tuples(st.none() | st.integers(-3, 3), st.none() | st.sampled_from(["", "a", "b", "ab"])), min_size=1
)


@given(KEYS)
def test_numbers_are_equal_where_keys_are(keys):
    columns = [pa.array([key[0] for key in keys], pa.int64()), pa.array([key[1] for key in keys], pa.string())]
    numbers, count = number_keys(columns)
    firsts = list(dict.fromkeys(keys))
    assert numbers.tolist() == [firsts.index(key) for key in keys]
    assert count == len(firsts)


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1), st.integers(1, 8))
def test_a_wider_integer_stays_in_its_shard(values, shards):
    narrow, wide = ([pa.array(values, kind)] for kind in (pa.int32(), pa.int64()))
    assert shard(narrow, shards).tolist() == shard(wide, shards).tolist()
    assert set(shard(narrow, shards).tolist()) <= set(range(shards))


def test_a_wider_decimal_stays_in_its_shard():
    values = [Decimal("0"), Decimal("1.50"), Decimal("-20"), Decimal("100.01")]
    narrow, wide = ([pa.array(values, pa.decimal128(12, scale))] for scale in (2, 6))
    assert shard(narrow, 64).tolist() == shard(wide, 64).tolist()


def test_neighbours_spread_over_the_shards():
    counts = [0] * 4
    for number in shard([pa.array(range(4000))], 4):
        counts[number] += 1
    assert min(counts) > 900


@pytest.mark.parametrize(
    ("values", "kinds"),
    [
        (
            [0, 7, -5, 2**31 - 1, None],
            [pa.int32(), pa.int64(), pa.decimal128(12, 2), pa.decimal256(50, 0), pa.float64()],
        ),
        ([0, 19_000, -1, None], [pa.date32(), pa.timestamp("s"), pa.timestamp("us"), pa.timestamp("ms")]),
    ],
    ids=["whole numbers", "days"],
)
def test_a_key_whose_type_has_grown_stays_in_its_shard(values, kinds):
    first = pa.array(values, kinds[0])
    shards = [shard([first.cast(kind)], 1000).tolist() for kind in kinds]
    assert shards == [shards[0]] * len(kinds)
