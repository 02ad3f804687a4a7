"""Maxwell's messages in the shapes that its documentation shows."""

import json

import pytest
from support.plain_messages import changes, decoded, words

from millrace.schemas.errors import TableError

ROW = {"id": 1, "m": 4.2341, "c": "2016-10-21 05:33:37.523000", "comment": "light"}


def message(kind, data, position=800_911, **more):
    value = {"database": "test", "table": "e", "type": kind, "ts": 1_477_053_217, "xid": 23_396, "commit": True}
    value |= {"position": f"master.000006:{position}", "server_id": 23_042, "thread_id": 108, "data": data}
    return value | {"primary_key": [1], "primary_key_columns": ["id"]} | more


def test_documented_messages_are_changes_with_their_place_in_the_binlog():
    newer = {**ROW, "m": 5.444}
    done = decoded("maxwell", [message("insert", ROW), message("update", newer, 801_500, old={"m": 4.2341})])
    assert done.key == ("id",) and done.letters == []
    assert changes(done) == [("+", ROW), ("+", newer)]
    last = (1 << 24) - 1
    assert words(done) == [(6, 800_911 << 24 | last, 0), (6, 801_500 << 24 | last, 1)]
    assert done.mark.climbs[0].servers == (23_042,)


def test_rows_of_one_transaction_are_told_apart_by_their_number():
    rows = [message("insert", {**ROW, "id": i}, xoffset=i) for i in range(2)]
    rows[1].pop("xoffset")
    assert [inner & 0xFFFFFF for _, inner, _ in words(decoded("maxwell", rows))] == [0, (1 << 24) - 1]


def test_a_key_that_an_update_changes_leaves_no_row_behind():
    done = decoded("maxwell", [message("update", {**ROW, "id": 2}, old={"id": 1})])
    assert changes(done) == [("-", {"id": 1}), ("+", {**ROW, "id": 2})]
    assert done.read == 1


@pytest.mark.parametrize("only", ["test.e", "*.e", "test.*"])
def test_rows_of_other_tables_of_the_topic_teach_nothing(only):
    """Their values would be of other types, and their columns columns of the table."""
    other = message("insert", {"id": "text", "more": 1}, table="other", database="elsewhere")
    done = decoded("maxwell", [other, message("insert", ROW), other], topic="maxwell", options={"only": only})
    assert (changes(done), done.filtered, done.letters) == ([("+", ROW)], 2, [])


def test_a_topic_that_is_not_named_after_the_table_stops_it():
    with pytest.raises(TableError, match=r"table t: maxwell\[0\] offset 1 is a change of test.e, .* only: test.e"):
        decoded("maxwell", [message("bootstrap-start", {}), message("insert", ROW)], topic="maxwell")
    for topic in ("e", "test.e", "maxwell_test_E"):
        assert len(changes(decoded("maxwell", [message("insert", ROW)], topic=topic))) == 1


def test_a_key_of_other_columns_than_before_is_a_dead_letter():
    done = decoded("maxwell", [message("insert", ROW), message("insert", ROW, primary_key_columns=["id", "c"])])
    (letter,) = done.letters
    assert (letter.offset, "names no key, or another" in letter.error) == (1, True)


def test_without_any_name_of_a_key_the_message_says_what_to_do():
    value = message("insert", ROW)
    del value["primary_key_columns"]
    (letter,) = decoded("maxwell", [value]).letters
    assert "name the key columns in the job file" in letter.error
    assert json.loads(letter.value) == value
