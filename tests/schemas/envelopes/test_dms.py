"""Messages of AWS DMS in the shapes that tasks send to Kafka and Kinesis."""

import pytest
from support.plain_messages import changes, decoded, words

from millrace.schemas.errors import TableError
from millrace.schemas.model.route import OnTruncate

ROW = {"age": 33, "attributes": '{"foo": "bar"}', "id": 42, "name": "John"}


def message(operation, data, kind="data", **more):
    metadata = {
        "commit-timestamp": "2024-07-29T00:58:44.886717Z",
        "operation": operation,
        "record-type": kind,
        "partition-key-type": "schema-table",
        "schema-name": "public",
        "table-name": "e",
        "prev-transaction-id": 1139,
        "prev-transaction-record-id": 1,
        "transaction-id": 1140,
        "stream-position": "00000002/7C007328.2.00000002/7C007328",
        "transaction-record-id": 1,
    }
    return {"data": data, "metadata": metadata, **more}


def read(values, **more):
    return decoded("dms", values, **{"key": ("id",), **more})


def test_rows_that_were_loaded_and_changed_are_ordered_by_their_offset():
    values = [message("load", ROW), message("update", {**ROW, "age": 34}, **{"before-image": {}})]
    done = read([*values, message("delete", {"id": 42})])
    assert changes(done) == [("+", ROW), ("+", {**ROW, "age": 34}), ("-", {"id": 42})]
    assert words(done) == [(0, 0, 0), (0, 0, 1), (0, 0, 2)]


def test_the_before_image_tells_the_key_that_an_update_changed():
    done = read([message("update", {**ROW, "id": 45}, **{"before-image": {"id": 46}})])
    assert changes(done) == [("-", {"id": 46}), ("+", {**ROW, "id": 45})]


def test_an_update_without_a_before_image_stops_the_table_unless_keys_never_change():
    value = message("update", ROW)
    with pytest.raises(TableError, match=r"e\[0\] offset 0 does not say .*EnableBeforeImage: true.*keys_change: false"):
        read([value])
    assert changes(read([value], options={"keys_change": False})) == [("+", ROW)]


def test_control_messages_are_no_rows():
    control = {"table-def": {"columns": {"id": {"type": "INT32", "nullable": False}}, "primary-key": ["id"]}}
    values = [message("create-table", None, "control", control=control), message("drop-table", None, "control")]
    done = read([*values, message("truncate-table", None, "control")], on_truncate=OnTruncate.APPLY)
    assert (done.filtered, done.truncates, done.letters) == (2, 1, [])
