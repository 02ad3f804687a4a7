"""What stands for a value that was not sent, by the column's type: recognised, and nothing that is only like it."""

import json
import uuid

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.schemas.envelopes.debezium.placeholders import UNAVAILABLE_VALUE, Placeholders
from millrace.transforms.proof.debezium import unavailable

# Java's UUID.nameUUIDFromBytes of the text: as a Debezium 3.3 sends it.
OWN_UUID = "b68a35a7-17ad-35b3-af2a-ae46edb4545a"
CODES = list(UNAVAILABLE_VALUE.encode())
SENT = {
    "text": (pa.string(), UNAVAILABLE_VALUE),
    "bytes": (pa.binary(), UNAVAILABLE_VALUE.encode()),
    "bytes as base64": (pa.string(), "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ=="),
    "bytes as hex": (pa.string(), "5f5f646562657a69756d5f756e617661696c61626c655f76616c7565"),
    "hstore as JSON": (pa.string(), json.dumps({UNAVAILABLE_VALUE: UNAVAILABLE_VALUE}, separators=(",", ":"))),
    "hstore as a map": (pa.map_(pa.string(), pa.string()), [(UNAVAILABLE_VALUE, UNAVAILABLE_VALUE)]),
    "texts": (pa.list_(pa.string()), [UNAVAILABLE_VALUE]),
    "uuids": (pa.list_(pa.string()), [OWN_UUID]),
    "ints": (pa.list_(pa.int32()), CODES),
    "bigints": (pa.list_(pa.int64()), CODES),
    "dates": (pa.list_(pa.date32()), CODES),
}
LIKE = {
    "text": [UNAVAILABLE_VALUE + "s", UNAVAILABLE_VALUE[:-1], "x" * len(UNAVAILABLE_VALUE), ""],
    "bytes": [b"x" * len(UNAVAILABLE_VALUE)],
    "bytes as base64": ["X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ", "x" * 40],
    "bytes as hex": ["5f" * 28],
    "hstore as JSON": ["x" * (2 * len(UNAVAILABLE_VALUE) + 7)],
    "hstore as a map": [[], [(UNAVAILABLE_VALUE, "v"), ("b", "v")], [("b", UNAVAILABLE_VALUE)]],
    "texts": [[], [UNAVAILABLE_VALUE, "b"], [None], ["x"]],
    "uuids": [[OWN_UUID, OWN_UUID], [str(uuid.UUID(int=0))]],
    "ints": [[], [*CODES, 0], CODES[:-1], [*CODES[:-1], None], [*CODES[:-1], 0]],
    "bigints": [[*CODES[:-1], 1 << 40]],
    "dates": [CODES[:3]],
}


def blanked(array: pa.Array) -> list[bool]:
    columns, names = Placeholders().blank({"c": array})
    found = [False] * len(array) if names is None else [names[i].as_py() == ["c"] for i in range(len(array))]
    assert [not columns["c"][i].is_valid for i in range(len(array))] == [
        hit or not array[i].is_valid for i, hit in enumerate(found)
    ]
    return found


@pytest.mark.parametrize("name", SENT)
def test_each_placeholder_is_recognised_and_nothing_like_it(name):
    kind, sent = SENT[name]
    rows = [None, *LIKE[name], sent, *LIKE[name], sent]
    whole = pa.array(rows, kind)
    wanted = [row is sent for row in rows]
    assert blanked(whole) == wanted
    assert blanked(whole.slice(2)) == wanted[2:], "an array that begins elsewhere in its buffers"


@pytest.mark.parametrize("name", SENT)
def test_the_proof_recognises_the_same(name):
    """By code of its own, on values as the message bears them."""
    _, sent = SENT[name]
    assert unavailable(dict(sent) if name == "hstore as a map" else sent)
    assert not any(unavailable(dict(like) if name == "hstore as a map" else like) for like in LIKE[name])


@given(st.text(min_size=1, max_size=40))
def test_a_text_of_the_user_s_own(text):
    arrays = {
        "t": pa.array([text, UNAVAILABLE_VALUE, "x"], pa.string()),
        "n": pa.array([[b - 256 if b > 127 else b for b in text.encode()], CODES, []], pa.list_(pa.int64())),
    }
    _, names = Placeholders(text).blank(arrays)
    assert sorted(names[0].as_py()) == ["n", "t"]
    if text not in (UNAVAILABLE_VALUE, "x"):
        assert not names[1].is_valid and not names[2].is_valid
    assert unavailable(text, text) and unavailable([b - 256 if b > 127 else b for b in text.encode()], text)
