"""Arrays and records as JSON: the text that `json.dumps` writes of each value, whichever way it is made."""

import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.schemas.model.json_texts import json_texts
from millrace.schemas.model.key_text import nested_as_text

WHOLE = st.none() | st.integers(-(1 << 63), (1 << 63) - 1)
TEXT = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
ROW = st.none() | st.fixed_dictionaries({"b": WHOLE, "a": TEXT, "list": st.none() | st.lists(WHOLE, max_size=3)})
RECORD = pa.struct([("b", pa.int64()), ("a", pa.string()), ("list", pa.list_(pa.int64()))])


def dumped(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


@given(st.lists(st.none() | st.lists(ROW, max_size=3), max_size=8), st.integers(0, 3))
def test_lists_of_records_with_lists(rows, first):
    array = pa.array(rows, pa.list_(RECORD))[first:]
    expected = [None if row is None else dumped(row) for row in rows[first:]]
    assert nested_as_text(array).to_pylist() == expected


@given(st.lists(ROW, max_size=8), st.lists(st.booleans(), min_size=8, max_size=8))
def test_records(rows, absent):
    array = pa.array(rows, RECORD)
    # Values that lie below a NULL are no values.
    hidden = pa.StructArray.from_arrays(
        array.flatten(), fields=list(RECORD), mask=pa.array(absent[: len(rows)], pa.bool_())
    )
    expected = [None if row is None else dumped(row) for row in array.to_pylist()]
    assert nested_as_text(array).to_pylist() == expected
    below = [None if out or row is None else text for out, row, text in zip(absent, rows, expected, strict=False)]
    assert [one for one, row in zip(nested_as_text(hidden).to_pylist(), rows, strict=True) if row is not None] == [
        one for one, row in zip(below, rows, strict=True) if row is not None
    ]


@pytest.mark.parametrize(
    "kind", [pa.int8(), pa.uint64(), pa.bool_(), pa.date32(), pa.time64("us"), pa.timestamp("ms", "UTC"), pa.string()]
)
def test_types_that_kernels_write(kind):
    value = {pa.bool_(): True, pa.string(): "a"}.get(kind, 7)
    width = pa.int32() if kind == pa.date32() else pa.int64()
    items = pa.array([value, None], width).view(kind) if pa.types.is_temporal(kind) else pa.array([value, None], kind)
    array = pa.ListArray.from_arrays(pa.array([0, 2, None, 2], pa.int32()), items)
    assert json_texts(array).to_pylist() == [f"[{dumped(value)},null]", "[]", None]
    assert nested_as_text(array).to_pylist() == json_texts(array).to_pylist()


@pytest.mark.parametrize("value", ['"', "\\", "\n", b"x", 1.5])
def test_others_are_written_one_by_one(value):
    array = pa.array([[value]])
    assert json_texts(array) is None
    assert json.loads(nested_as_text(array)[0].as_py()) == (["eA=="] if value == b"x" else [value])
