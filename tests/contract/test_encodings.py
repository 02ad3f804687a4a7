"""What every encoding promises. It runs over the registry: an encoding that is not in it does not exist."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.encodings import ENCODING_PLACES

from millrace.schemas.encodings import ENCODINGS
from millrace.schemas.encodings.encoding import BAD, NULL
from millrace.schemas.encodings.message_reader import Failures, MessageReader
from millrace.schemas.model.message_batch import MessageBatch

ROWS = [{"id": i, "name": None if i % 3 == 0 else f"näme {i}", "price": i / 4} for i in range(40)]


@pytest.fixture(scope="module", params=sorted(ENCODING_PLACES))
def place(request, tmp_path_factory):
    return ENCODING_PLACES[request.param](tmp_path_factory.mktemp(request.param))


def batch_of(values):
    """Messages with these values and no keys."""
    data = np.frombuffer(b"".join(value or b"" for value in values) + b"\0", np.uint8)
    length = np.array([-1 if value is None else len(value) for value in values], np.int64)
    at = np.concatenate(([0], np.cumsum(np.maximum(length, 0))))[:-1].astype(np.int64)
    count = np.arange(len(values), dtype=np.int64)
    nothing = np.full(len(values), -1, np.int64)
    return MessageBatch("t", 0, 0, len(values), data, count, nothing, np.zeros_like(count), nothing, at, length)


def decoded(place, values):
    """By row what was decoded, and the dead letters by row."""
    messages = batch_of(values)
    failures, found = Failures(messages), {}
    for group in MessageReader(place.encoding, "t").read(messages, failures, keys_of_values=False):
        if group.value is not None:
            found.update(zip(group.rows.tolist(), group.value.to_pylist(), strict=True))
    return found, {letter.offset: letter for letter in failures.letters}


def is_row(found, row):
    """Whether these are the row's values; a column that another message brought is null."""
    return found | row == found and all(found[name] is None for name in found.keys() - row.keys())


def test_every_encoding_of_the_registry_is_tested():
    assert {name.partition(":")[0] for name in ENCODING_PLACES} == set(ENCODINGS)


def test_rows_come_back_as_they_were(place):
    found, letters = decoded(place, [place.encode(row) for row in ROWS])
    assert letters == {}
    assert [found[i] for i in range(len(ROWS))] == ROWS


def test_null_is_no_message_and_no_dead_letter(place):
    framed = place.encoding.frame(batch_of([None, place.encode(ROWS[1])]), "value")
    assert framed.kind[0] == NULL and framed.kind[1] not in (NULL, BAD)
    assert decoded(place, [None]) == ({}, {})


@pytest.mark.parametrize("more", [b"\0", b"x", b"\xff" * 9])
def test_every_byte_is_consumed(place, more):
    found, letters = decoded(place, [place.encode(ROWS[1]) + more, place.encode(ROWS[2])])
    assert list(found) == [1] and list(letters) == [0]


def test_a_truncated_payload_is_a_dead_letter_and_its_neighbours_are_not(place):
    whole = place.encode(ROWS[1])
    for size in range(len(whole)):
        found, letters = decoded(place, [place.encode(ROWS[4]), whole[:size], place.encode(ROWS[5])])
        assert found == {0: ROWS[4], 2: ROWS[5]}
        assert letters[1].value == whole[:size] and letters[1].error


@settings(max_examples=150)
@given(data=st.data())
def test_a_mutated_payload_harms_nobody_else(place, data):
    whole = bytearray(place.encode(ROWS[7]))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    found, letters = decoded(place, [place.encode(ROWS[1]), bytes(whole), place.encode(ROWS[2])])
    assert is_row(found[0], ROWS[1]) and is_row(found[2], ROWS[2])
    assert (1 in found) != (1 in letters)


@settings(max_examples=150)
@given(st.lists(st.binary(max_size=60), min_size=1, max_size=5))
def test_noise_is_decoded_or_told(place, noise):
    found, letters = decoded(place, noise)
    assert sorted([*found, *letters]) == list(range(len(noise)))
    assert all(letter.error for letter in letters.values())


def test_hostile_payloads_are_dead_letters(place):
    hostile = place.hostile()
    found, letters = decoded(place, [*hostile, place.encode(ROWS[3])])
    assert list(found) == [len(hostile)] and is_row(found[len(hostile)], ROWS[3])
    assert sorted(letters) == list(range(len(hostile)))


def test_a_field_that_nobody_needs_is_checked_and_left_out(place):
    messages = batch_of([place.encode(ROWS[1]), place.encode(ROWS[2])[:-1]])
    failures = Failures(messages)
    reader = MessageReader(place.encoding, "t", lambda path: path != ("price",))
    (group,) = reader.read(messages, failures, keys_of_values=False)
    assert group.value.to_pylist() == [{"id": 1, "name": "näme 1"}]
    assert [letter.offset for letter in failures.letters] == [1]
