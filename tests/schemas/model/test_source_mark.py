"""A connector is judged by its own changes alone, however those of several stand in one partition."""

import json

import numpy as np
import pyarrow as pa
import pytest

from millrace.schemas.envelopes.tombstones import MOST_CLIMBS, TombstoneContext
from millrace.schemas.errors import NewSourceError, TableError
from millrace.schemas.model.connector_mark import ConnectorMark
from millrace.schemas.model.source_mark import MOST_CONNECTORS, Climb, SourceMark

PLACE = "table t: orders[0]"


def changes(*rows):
    """What a block's decoder keeps of streamed changes, each (connector, commit order, time, server)."""
    context = TombstoneContext.of(len(rows))
    names, commit, time, server = (list(column) for column in zip(*rows, strict=True))
    every = np.arange(len(rows))
    context.note(every, (np.array(commit, np.uint64), np.zeros(len(rows), np.uint64)), np.ones(len(rows), np.bool_))
    context.note_source(every, np.array(time), np.array(server))
    context.note_connector(every, pa.array(names, pa.string()).dictionary_encode())
    return context


def mark(first, *rows):
    """What a range says that begins at the offset `first`."""
    return SourceMark(climbs=changes(*rows).climbs(np.arange(first, first + len(rows))))


EAST = [("east", 500, 1_000, 1), ("east", 501, 1_001, 1), ("east", 502, 1_002, 1)]
WEST = [("west", 7, 5_000, 2), ("west", 8, 5_001, 2), ("west", 9, 5_002, 2)]
MIXED = [row for pair in zip(EAST, WEST, strict=True) for row in pair]


@pytest.fixture
def both():
    """The mark after a range in which two connectors stand in turns."""
    return SourceMark().followed(mark(0, *MIXED), PLACE)


def test_two_connectors_in_turns_are_a_climb_each():
    east, west = mark(10, *MIXED).climbs
    assert east == Climb("east", 10, (500, 0), (502, 0), 1_000, 1_002, 1, (1,), 14)
    assert west == Climb("west", 11, (7, 0), (9, 0), 5_000, 5_002, 2, (2,), 15)


@pytest.mark.parametrize("size", range(1, 7))
def test_two_connectors_in_turns_never_stop_each_other(both, size):
    found = SourceMark()
    for first in range(0, len(MIXED), size):
        found = found.followed(mark(first, *MIXED[first : first + size]), PLACE)
    assert found == both
    assert found.connectors == {
        "east": ConnectorMark((502, 0), 1_002, (1,)),
        "west": ConnectorMark((9, 0), 5_002, (2,)),
    }


def test_a_range_is_judged_alike_in_one_commit_and_in_many(both):
    parts = [mark(first, row) for first, row in enumerate(MIXED)]
    joined = SourceMark()
    for part in parts:
        joined = joined.joined(part)
    assert SourceMark().followed(joined, PLACE) == both


def test_a_replay_of_one_connector_stops_nothing(both):
    found = both.followed(mark(6, ("east", 503, 1_003, 1), WEST[0], WEST[1]), PLACE)
    assert found.connectors["west"] == ConnectorMark((9, 0), 5_002, (2,), below=7, lowest=(7, 0))
    assert found.connectors["east"] == ConnectorMark((503, 0), 1_003, (1,))
    found = found.followed(mark(9, WEST[2], ("west", 10, 5_003, 2)), PLACE)
    assert found.connectors["west"] == ConnectorMark((10, 0), 5_003, (2,))


@pytest.mark.parametrize(("time", "server"), [(5_003, 2), (5_000, 3), (5_000, 1)])
def test_a_failover_of_one_connector_stops_the_table_and_names_it(both, time, server):
    news = [("east", 503, 1_003, 1), ("west", 3, time, server)]
    words = rf"{PLACE} offset 7: changes of a new source begin here\. They are of the connector west\..*server {server}"
    with pytest.raises(NewSourceError, match=words.replace("[0]", r"\[0\]") + r".*fill the table anew"):
        both.followed(mark(6, *news), PLACE)


def test_a_connector_that_was_not_seen_before_begins_a_mark(both):
    found = both.followed(mark(6, ("north", 1, 9, 77)), PLACE)
    assert found.connectors == {**both.connectors, "north": ConnectorMark((1, 0), 9, (77,))}


def test_connectors_without_a_name_are_one():
    first = SourceMark().followed(mark(0, (None, 5, 10, 1), ("", 6, 11, 1)), PLACE)
    context = changes((None, 7, 12, 1))
    context.connectors.clear()
    context.note_connector(np.arange(1), None)
    later = SourceMark(climbs=context.climbs(np.arange(2, 3)))
    assert first.followed(later, PLACE).connectors == {"": ConnectorMark((7, 0), 12, (1,))}
    with pytest.raises(NewSourceError, match="They are of a connector without a name"):
        first.followed(mark(2, (None, 1, 12, 9)), PLACE)


def test_the_groups_of_a_block_share_their_connectors():
    context = TombstoneContext.of(4)
    context.note(np.arange(4), (np.array([5, 1, 6, 2], np.uint64), np.zeros(4, np.uint64)), np.ones(4, np.bool_))
    context.note_connector(np.array([0, 3]), pa.array(["a", "b"]).dictionary_encode())
    context.note_connector(np.array([1]), pa.array(["b"]).dictionary_encode())
    context.note_connector(np.array([2]), pa.array(["a"]).dictionary_encode())
    assert [(one.connector, one.first, one.top) for one in context.climbs(np.arange(4))] == [
        ("a", (5, 0), (6, 0)),
        ("b", (1, 0), (2, 0)),
    ]


def test_more_climbs_than_are_kept_end_in_one_with_its_highest():
    rows = [("a", 1_000 - number, 1, 1) for number in range(MOST_CLIMBS + 20)]
    climbs = mark(0, *rows[:-1], ("a", 5_000, 1, 1), rows[-1]).climbs
    assert len(climbs) == MOST_CLIMBS
    assert (climbs[-1].first, climbs[-1].top) == ((1_001 - MOST_CLIMBS, 0), (5_000, 0))


def test_too_many_connectors_are_refused_in_words():
    rows = [(f"c{number}", 5, 1, 1) for number in range(MOST_CONNECTORS)]
    full = SourceMark().followed(mark(0, *rows), PLACE)
    full = full.followed(mark(64, *rows), PLACE)
    words = r"^table t: orders\[0\]: changes of more than 64 connectors \(source\.name\)"
    with pytest.raises(TableError, match=words):
        full.followed(mark(128, ("one more", 5, 1, 1)), PLACE)
    many = mark(0, *[(f"c{number}", 5, 1, 1) for number in range(10_000)])
    assert len(many.climbs) == MOST_CONNECTORS + 1
    with pytest.raises(TableError, match=words):
        SourceMark().followed(many, PLACE)


def test_a_mark_is_read_as_it_was_written(both):
    kept = both.followed(SourceMark(climbs=mark(6, WEST[0], ("ö\0", 4, 2, 1)).climbs), PLACE)
    assert SourceMark.of_text(kept.text()) == kept
    assert SourceMark.of_text(SourceMark().text()) == SourceMark() == SourceMark.of_text(None)


def test_a_mark_remembers_the_log_where_the_last_range_ended():
    mark = SourceMark(tail="before").followed(SourceMark(tail="behind"), "table t: t[0]")
    assert mark.tail == "behind"
    assert mark.followed(SourceMark(), "table t: t[0]").tail == "behind"


def test_the_names_of_sources_outlive_their_connectors_marks():
    seen = SourceMark(climbs=mark(0, ("east", 5, 10, 1)).climbs, sources=("the connector east", "the topic t"))
    known = SourceMark().followed(seen, PLACE)
    kept = SourceMark.of_text(known.text())
    assert json.loads(known.text())["sources"] == ["the topic t"]
    assert kept.known_sources == known.known_sources == {"the connector east", "the topic t"}
    assert kept.rewound(0).known_sources == known.known_sources
    assert not kept.anew(0).known_sources
