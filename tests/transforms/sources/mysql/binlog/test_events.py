"""Blocks of events: where each stands, and what is refused."""

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.binlog_events import event, written
from support.mysql_server import server

from millrace.schemas.errors import SourceError
from millrace.transforms.sources.mysql.binlog import event_types as types
from millrace.transforms.sources.mysql.binlog.checksum import first_damaged
from millrace.transforms.sources.mysql.binlog.events import Place, split

PLACE = Place("binlog.000007", 1000)


def test_events_are_split_without_header_and_checksum():
    block = event(types.XID, b"12345678") + event(types.HEARTBEAT, b"") + event(types.QUERY, b"abc")
    found = split(block, PLACE, checksum=True)
    assert found.kind.tolist() == [types.XID, types.HEARTBEAT, types.QUERY]
    assert [found.body(i) for i in range(3)] == [b"12345678", b"", b"abc"]
    assert set(found.time) == {1_700_000_000} and set(found.server) == {1}
    plain = split(event(types.XID, b"12345678", checksum=False), PLACE, checksum=False)
    assert plain.body(0) == b"12345678"


def test_a_changed_byte_is_refused_with_its_place():
    block = bytearray(event(types.XID, b"12345678") + event(types.QUERY, b"abc"))
    block[31 + 19] ^= 1
    with pytest.raises(SourceError, match=r"binlog binlog.000007, position 1031: an event's checksum"):
        split(bytes(block), PLACE, checksum=True)


@pytest.mark.parametrize("cut", [1, 18, 25])
def test_bytes_that_are_no_event_are_refused_with_their_place(cut):
    block = event(types.XID, b"12345678")
    with pytest.raises(SourceError, match=r"binlog binlog.000007, position 1031: the bytes are no event"):
        split(block + event(types.QUERY, b"abc")[:cut], PLACE, checksum=True)


def test_a_length_of_nothing_is_refused():
    block = bytearray(event(types.XID, b"12345678"))
    block[9:13] = bytes(4)
    with pytest.raises(SourceError, match="no event"):
        split(bytes(block), PLACE, checksum=True)


@given(st.binary(max_size=80), st.integers(0, 10))
def test_the_checksum_is_that_of_zlib(data, before):
    block = bytes(before) + data + zlib.crc32(data).to_bytes(4, "little")
    start, stop = np.array([before]), np.array([before + len(data)])
    assert first_damaged(np.frombuffer(block, np.uint8), start, stop, np.zeros(1, np.uint8)) == -1
    wrong = block[:-1] + bytes((block[-1] ^ 1,))
    assert first_damaged(np.frombuffer(wrong, np.uint8), start, stop, np.zeros(1, np.uint8)) == 0


@pytest.mark.parametrize("kind", ["mysql", "mariadb"])
def test_a_servers_file_is_read_to_its_end(kind):
    database = server(kind)
    database.sql("FLUSH BINARY LOGS")
    found = written(database)
    assert found.described.mariadb == (kind == "mariadb") and found.described.checksum
    assert found.events.kind[0] == types.FORMAT_DESCRIPTION
    assert found.events.next[0] == found.events.stop[0] + types.CHECKSUM + PLACE.position - 996
