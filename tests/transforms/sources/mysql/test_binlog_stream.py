"""How far the stream has come: what the server says of a place counts for the file that it speaks of."""

import struct

import pytest
from support.binlog_events import event

from millrace.transforms.sources.mysql.binlog import event_types as types
from millrace.transforms.sources.mysql.binlog_stream import BinlogStream
from millrace.transforms.sources.mysql.client import MySqlSettings
from millrace.transforms.sources.mysql.offsets import FIRST_POSITION, offset_of

HEARTBEAT = event(types.HEARTBEAT, b"binlog.000005", position=10_000_000)
NEXT = struct.pack("<Q", FIRST_POSITION) + b"binlog.000006"
ROTATE = event(types.ROTATE, NEXT, position=-types.HEADER - len(NEXT) - types.CHECKSUM)
"""As the server makes it up for its reader: it stands in no file, so nothing follows it at a position."""


@pytest.mark.parametrize("parts", [[HEARTBEAT + ROTATE], [HEARTBEAT, ROTATE]])
def test_a_heartbeat_before_a_rotation_says_nothing_of_the_next_file(parts):
    """A run that rests between two windows finds both in one read: the next file's events are still to come."""
    stream = BinlogStream(MySqlSettings("db", 3306, "ann", None, "disable", None, None))
    stream._number = 5
    for part in parts:
        stream._take_in(part)
    assert stream.position == offset_of(6, FIRST_POSITION)
