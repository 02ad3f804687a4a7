"""Positions: byte order is the source's order, for each connector."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.schemas.envelopes.debezium.source_position import source_order
from millrace.schemas.model.position import pack, unpack

U64 = st.integers(0, 2**64 - 1)
PLACES = st.tuples(U64, U64, st.integers(0, 2**63 - 1))


@given(st.lists(PLACES, min_size=1, max_size=20))
def test_bytes_compare_as_the_numbers_do(places):
    commit, inner, offset = (
        np.array(part, kind) for part, kind in zip(zip(*places, strict=True), ("u8", "u8", "i8"), strict=True)
    )
    packed = pack(commit, inner, offset)
    assert sorted(packed.to_pylist()) == [
        bytes(8) + bytes.fromhex("{:016x}{:016x}{:016x}".format(*place)) for place in sorted(places)
    ]
    assert [tuple(row[1:]) for row in unpack(packed).tolist()] == places
    assert unpack(packed.slice(1)).tolist() == [[0, *place] for place in places[1:]]


def order(**columns):
    source = pa.StructArray.from_arrays([pa.array(values) for values in columns.values()], list(columns))
    (commit, inner), bad = source_order(source)
    return list(zip(commit.tolist(), inner.tolist(), strict=True)), bad.tolist()


def test_postgres_takes_the_sequence_and_else_the_lsn():
    places, bad = order(sequence=['["123","456"]', '[null,"7"]', None, '["1"]'], lsn=[1, 2, 3, 4])
    assert places[:3] == [(123, 456), (7, 7), (3, 3)]
    assert bad == [False, False, False, True]


def test_mysql_orders_files_by_number_not_by_text():
    places, bad = order(file=["bin.000999", "bin.1000", "mysql"], pos=[400, 5, 1], row=[0, 3, 0])
    assert bad == [False, False, True]
    assert places[0] < places[1] == (1000, (5 << 24) | 3)


def test_sql_server_orders_by_commit_then_change():
    first, second = "0000002a:00000ac0:0002", "0000002a:00000b00:0001"
    places, bad = order(commit_lsn=[first, second, "oops"], change_lsn=[first, first, first])
    assert bad == [False, False, True]
    assert places[0] < places[1]


SQL_SERVER_LSN = st.tuples(
    st.integers(0, 2**32 - 1) | st.integers(1, 3), st.integers(0, 2**32 - 1), st.integers(0, 2**16 - 1)
)


@given(st.lists(st.tuples(SQL_SERVER_LSN, SQL_SERVER_LSN), min_size=2, max_size=6))
def test_any_lsn_of_sql_server_stands_where_its_commit_does(pairs):
    def text(lsn):
        return f"{lsn[0]:08x}:{lsn[1]:08x}:{lsn[2]:04x}"

    places, bad = order(commit_lsn=[text(pair[0]) for pair in pairs], change_lsn=[text(pair[1]) for pair in pairs])
    assert not any(bad)
    # The change's own place counts within the file of its commit.
    real = [(commit, change[1:] if change[0] == commit[0] else (0, 0)) for commit, change in pairs]
    for one, place in zip(real, places, strict=True):
        for other, place_of_other in zip(real, places, strict=True):
            assert (one < other) == (place < place_of_other)


@given(st.lists(st.integers(0, 2**128 - 1) | st.integers(0, 9), min_size=2, max_size=6))
def test_any_lsn_of_db2_stands_where_its_commit_does(numbers):
    texts = [f"{number:032x}" for number in numbers]
    written = [f"{text[:8]}:{text[8:16]}:{text[16:]}" for text in texts]
    places, bad = order(commit_lsn=written, change_lsn=[written[0]] * len(written))
    assert not any(bad)
    assert sorted(range(len(numbers)), key=places.__getitem__) == sorted(range(len(numbers)), key=numbers.__getitem__)


def test_informix_has_decimal_numbers_and_minus_one_for_none():
    places, bad = order(commit_lsn=["30064771072", "9223372036854775807", "-1", None], change_lsn=["7", "-1", "5", "5"])
    assert places == [(30064771072, 7), (2**63 - 1, 0), (0, 0), (0, 0)]
    assert not any(bad)


@pytest.mark.parametrize(
    "text", ["", ":", "1:2", "1:2:3:4", "000000001:0:0", "0:0:00000000000000000", "NULL", "1g:0:0"]
)
def test_a_commit_lsn_of_another_shape_is_not_guessed(text):
    assert order(commit_lsn=[text], change_lsn=[None])[1] == [True]


def test_a_change_lsn_of_another_shape_than_its_commit_is_not_guessed():
    assert order(commit_lsn=["5"], change_lsn=["0000002a:00000ac0:0002"])[1] == [True]


def test_an_lsn_of_postgres_above_the_signed_numbers():
    places, _ = order(sequence=['["-9223372036854775807","-3"]', '["5","6"]', None], lsn=[-3, 6, -3])
    assert places == [(2**63 + 1, 2**64 - 3), (5, 6), (2**64 - 3, 2**64 - 3)]


def test_yugabytes_lsn_of_a_tablet_leaves_the_offset_to_decide():
    lsn = "1:7::0:0"
    assert order(lsn=[lsn], sequence=[f'["{lsn}","{lsn}"]']) == ([(0, 0)], [False])


def test_oracle_orders_by_commit_scn():
    places, bad = order(commit_scn=["9", "10", "x"], scn=["8", "7", "1"])
    assert places[:2] == [(9, 8), (10, 7)]
    assert bad == [False, False, True]


@pytest.mark.parametrize("columns", [{"version": ["3.3"]}, {"ts_ms": [5]}])
def test_a_source_without_positions_leaves_the_offset_to_decide(columns):
    assert order(**columns) == ([(0, 0)], [False])
