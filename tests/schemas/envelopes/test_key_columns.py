"""Keys of the message in the type of the row's column: what fits is converted, what does not is a dead letter."""

import numpy as np
import pyarrow as pa
import pytest
from support.decoders import NOWHERE
from support.record_batches import batch

from millrace.schemas.encodings.message_reader import Failures
from millrace.schemas.envelopes.key_columns import KeyedRows, keyed_by_message
from millrace.schemas.model.block import Block
from millrace.schemas.model.key_text import comparable, from_header, nested_as_text
from millrace.schemas.model.position import pack


def keyed(key, column):
    count = len(key)
    records = [(0, b"k", b"v", [])] * count
    messages, _ = NOWHERE.split(Block("t", 0, 0, count, batch(0, records)))
    failures = Failures(messages)
    zeros = np.zeros(count, np.uint64)
    found = KeyedRows({"id": column}, np.zeros(count, np.bool_), np.arange(count), pack(zeros, zeros, np.arange(count)))
    done = keyed_by_message(found, {"id": key}, failures, None)
    return done.columns["id"].to_pylist(), [(letter.offset, letter.error) for letter in failures.letters]


@pytest.mark.parametrize(
    ("key", "column", "kept", "dead"),
    [
        (pa.array(["7", "A-7", "8"]), pa.array([7, 7, 8]), [7, 8], [1]),
        (pa.array([1 << 40, 5]), pa.array([7, 5], pa.int32()), [5], [0]),
        (pa.array([b"\xff\x01"]), pa.array(["x"]), [], [0]),
        (pa.array([True]), pa.array([None], pa.binary()), [], [0]),
        (pa.array(["{}"]), pa.array([{"a": 1}]), ["{}"], []),
    ],
)
def test_a_key_that_the_column_cannot_be_is_a_dead_letter_of_its_own(key, column, kept, dead):
    found, letters = keyed(key, column)
    assert found == kept
    assert [offset for offset, _ in letters] == dead
    assert all("which the row's column" in error for _, error in letters)


def test_nested_keys_are_text_that_is_the_same_for_equal_keys():
    maps = pa.array([[("b", 1), ("a", 2)], [("a", 2), ("b", 1)], None], pa.map_(pa.string(), pa.int64()))
    assert nested_as_text(maps).to_pylist() == ['{"a":2,"b":1}', '{"a":2,"b":1}', None]
    records = pa.array([{"x": [b"\0", None], "y": "é"}])
    assert nested_as_text(records).to_pylist() == ['{"x":["AA==",null],"y":"é"}']
    assert nested_as_text(pa.array([1])).to_pylist() == [1]


def test_what_is_no_key_in_a_header_is_left_as_it_is():
    zoned = pa.timestamp("us", "UTC")
    assert from_header("odd", zoned) == "odd"
    assert from_header({"scale": 1, "value": "?"}, pa.string()) == '{"scale":1,"value":"?"}'
    assert from_header("x", pa.decimal128(4, 2)) == "x"
    assert from_header(None, pa.int64()) is None
    assert (
        from_header("1970-01-01T00:00:01+00:00", zoned) == comparable(pa.scalar(10**6, zoned).as_py(), zoned) == 10**6
    )
