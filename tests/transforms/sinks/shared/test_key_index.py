import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from millrace.transforms.sinks.shared.key_index import KeyIndex

PARTS = st.tuples(st.none() | st.sampled_from("abc"), st.none() | st.integers(0, 3), st.none() | st.booleans())
TYPES = (pa.string(), pa.int64(), pa.bool_())


@given(st.lists(PARTS, unique=True, max_size=20), st.lists(PARTS, max_size=40), st.integers(1, 3))
def test_it_finds_what_a_dictionary_finds(known, asked, width):
    known = list(dict.fromkeys(key[:width] for key in known))
    index = KeyIndex([pa.chunked_array([column(known, number)]) for number in range(width)])
    rows, there = index.find([column(asked, number) for number in range(width)])
    places = {key: row for row, key in enumerate(known)}
    assert list(zip(rows.tolist(), there.tolist(), strict=True)) == [
        (places[key[:width]], row) for row, key in enumerate(asked) if key[:width] in places
    ]


def column(keys, number):
    return pa.array([key[number] for key in keys], TYPES[number])
