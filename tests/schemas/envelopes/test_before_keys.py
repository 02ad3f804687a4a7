"""A key of the job's own needs the row before each change, unless the messages' key has it."""

import pytest
from support.debezium_stream import Stream, contracts_in, row
from support.decoders import avro_decoder
from support.log_source import block_of

from millrace.schemas.errors import TableError
from millrace.schemas.model.ledger import TopicPartition
from millrace.schemas.model.route import Route


def decoded(stream, folder, *key):
    route = Route(table="t", key=key, sources=(TopicPartition("t", 0),))
    return avro_decoder("debezium", contracts_in(folder), "t", route)(block_of(stream.messages))


def test_an_update_that_does_not_say_what_stood_there_stops_the_table(tmp_path):
    """REPLICA IDENTITY DEFAULT: the row that left its key would stay, and nobody would know."""
    stream = Stream().put(1, 100, "a", op="c").put(1, 110, "b")
    said = r"table t: key: \[text\] .* the change at t\[0\] offset 1 does not say .*REPLICA IDENTITY FULL"
    with pytest.raises(TableError, match=said):
        decoded(stream, tmp_path, "text")
    with pytest.raises(TableError, match=said.replace("text", "id, text")):
        decoded(stream, tmp_path, "id", "text")


def test_a_delete_that_bears_the_messages_key_alone_is_a_dead_letter(tmp_path):
    stream = Stream().put(1, 100, "a", op="c").delete(1, 110, tombstone=False)
    assert [letter.error for letter in decoded(stream, tmp_path, "text").letters] == ["no value for the key (text)"]


def test_whole_rows_before_changes_tell_which_key_was_left(tmp_path):
    stream = Stream().put(1, 100, "a", op="c").change("u", 1, 110, row(1, "b"), before=row(1, "a"))
    done = decoded(stream, tmp_path, "text")
    changes = [(one["text"], one["_millrace_op"]) for batch in done.changes for one in batch.to_pylist()]
    assert sorted(changes) == [("a", 0), ("a", 1), ("b", 0)]


def test_the_messages_own_key_needs_no_row_before(tmp_path):
    stream = Stream().put(1, 100, "a", op="c").put(1, 110, "b").delete(1, 120)
    assert len(decoded(stream, tmp_path, "id").letters) == 0
