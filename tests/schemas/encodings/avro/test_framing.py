"""Framing: which schema a message names, and where its datum begins."""

import numpy as np
import pytest

from millrace.schemas.encodings.avro.framing import Framing, explain, frame
from millrace.schemas.encodings.encoding import BAD, BARE, BY_FINGERPRINT, BY_ID, NULL


def framed(messages, framing=Framing.AUTO):
    data = np.frombuffer(b"".join(message or b"" for message in messages) + b"\0", np.uint8)
    length = np.array([-1 if message is None else len(message) for message in messages])
    at = np.concatenate(([0], np.cumsum(np.maximum(length, 0))))[:-1]
    return data, frame(data, at, length, framing)


def test_confluent_header_gives_the_id_and_the_datum():
    data, found = framed([b"\x00\x00\x01\x00\x02ab", None, b"\x00\xff\xff\xff\xff"])
    assert found.kind.tolist() == [BY_ID, NULL, BY_ID]
    assert found.schema.tolist() == [0x10002, 0, 0xFFFFFFFF]
    assert data[found.at[0] : found.at[0] + found.length[0]].tobytes() == b"ab"
    assert found.length[2] == 0


def test_single_object_header_gives_the_fingerprint():
    _, found = framed([b"\xc3\x01" + bytes(range(8)) + b"x"])
    assert found.kind.tolist() == [BY_FINGERPRINT]
    assert int(found.schema[0]).to_bytes(8, "little") == bytes(range(8))
    assert found.length.tolist() == [1]


@pytest.mark.parametrize(
    "message", [b"", b"\x00", b"\x00\x01\x02\x03", b"\x01abcdef", b"\xc3\x01abc", b"\xc3\x02" + bytes(9)]
)
def test_bad_messages_are_told_and_explained(message):
    _, found = framed([message])
    assert found.kind.tolist() == [BAD]
    assert explain(message)


def test_one_framing_refuses_the_other():
    both = [b"\x00\x00\x00\x00\x01", b"\xc3\x01" + bytes(8)]
    assert framed(both, Framing.CONFLUENT)[1].kind.tolist() == [BY_ID, BAD]
    assert framed(both, Framing.SINGLE_OBJECT)[1].kind.tolist() == [BAD, BY_FINGERPRINT]
    assert framed(both, Framing.BARE)[1].kind.tolist() == [BARE, BARE]
    assert framed([b""], Framing.BARE)[1].kind.tolist() == [BARE]
