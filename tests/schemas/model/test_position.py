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


def test_oracle_orders_by_commit_scn():
    places, bad = order(commit_scn=["9", "10", "x"], scn=["8", "7", "1"])
    assert places[:2] == [(9, 8), (10, 7)]
    assert bad == [False, False, True]


@pytest.mark.parametrize("columns", [{"version": ["3.3"]}, {"ts_ms": [5]}])
def test_a_source_without_positions_leaves_the_offset_to_decide(columns):
    assert order(**columns) == ([(0, 0)], [False])
