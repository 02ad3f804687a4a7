"""Two oracles: where positions and the order of the log disagree, the proof says so."""

from support.debezium_stream import Stream
from support.held_log import proved_by_itself

from millrace.transforms.proof.report import Verdict


def disputes(contracts, *streams):
    """The disputed keys of a table that is what the positions say."""
    report = proved_by_itself(contracts, *streams)
    assert report.counts[Verdict.MATCH] == report.expected
    shown = {one.key["id"]: one.note for one in report.examples if one.verdict is Verdict.DISPUTED}
    assert len(shown) == report.counts[Verdict.DISPUTED]
    assert report.ok is not bool(shown)
    return shown


def test_streams_whose_positions_grow_are_undisputed(contracts):
    stream = Stream().put(1, 10, "a").put(2, 20, "b").put(1, 30, "c").delete(2, 40).put(2, 50, "d")
    assert disputes(contracts, stream) == {}


def test_news_at_a_lower_position_is_disputed(contracts):
    stream = Stream().put(1, 100, "old server").put(2, 110, "b").put(1, 10, "new server")
    assert disputes(contracts, stream) == {1: "the last message of the key is at offset 2, the table shows that at 0"}
    assert set(disputes(contracts, Stream().put(1, 100, "a").delete(1, 10))) == {1}


def test_a_replay_at_the_end_of_the_log_is_not_disputed(contracts):
    stream = Stream().put(1, 10, "a").put(2, 15, "b").put(1, 20, "c").put(1, 10, "a").put(2, 15, "b")
    assert disputes(contracts, stream) == {}
    assert set(disputes(contracts, stream.put(1, 9, "news"))) == {1}


def test_a_replay_of_a_delete(contracts):
    stream = Stream().put(1, 10, "a").delete(1, 20).put(1, 30, "b").put(1, 10, "a").delete(1, 20)
    assert disputes(contracts, stream) == {}


def test_a_lower_position_that_says_the_same_is_not_disputed(contracts):
    assert disputes(contracts, Stream().put(1, 100, "same").put(1, 10, "same")) == {}


def test_partitions_are_not_compared_by_the_log(contracts):
    assert disputes(contracts, Stream(0).put(1, 100, "new"), Stream(1).put(1, 10, "old")) == {}
    assert disputes(contracts, Stream(1).put(1, 10, "old"), Stream(0).put(1, 100, "new")) == {}


def test_a_replay_of_what_stood_in_another_partition_is_not_disputed(contracts):
    """Partitions were added: the key's changes go to another one since, repeated ones too."""
    assert disputes(contracts, Stream(0).put(1, 10, "a"), Stream(1).put(1, 20, "b").put(1, 10, "a")) == {}
    assert set(disputes(contracts, Stream(0).put(1, 10, "a"), Stream(1).put(1, 20, "b").put(1, 9, "news"))) == {1}
