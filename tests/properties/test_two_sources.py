"""Two databases into one table: never compared in silence, and right where the job says how to decide."""

import tempfile
from collections import defaultdict
from contextlib import closing
from random import Random

import pytest
from hypothesis import Phase, given, note, settings
from hypothesis import strategies as st
from support.log_reader import LogReader
from support.simulated_database import PARTITIONS, TOPIC, Connector, Database, apply, messages

from millrace.schemas.errors import TableError
from millrace.schemas.model.route import OnTwoSources
from millrace.transforms.sinks import open_sink
from millrace.transforms.sinks.memory.sink import MemorySink

EXAMPLES = {"memory": 25, "duckdb": 3}
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
EVENTS = ("stream",) * 4 + ("store", "restart", "repeat", "fail over")


def shown(rows):
    return {key: (row["text"], row["raw"]) for key, row in rows.items()}


def opened(target, folder):
    return MemorySink(folder) if target == "memory" else open_sink("duckdb", {"path": f"{folder}/out.duckdb"})


def two(random, kinds):
    """Two databases with the same keys, one far ahead of the other in its positions, and their connectors."""
    east = Database(random, kinds[0], large=False, name="east", truncates=False)
    west = Database(
        random, kinds[1], large=False, name="west", truncates=False, lsn=900_000, file=90, server=777, count=100_000
    )
    return Connector(east), Connector(west)


def step(connectors, number, clock):
    """Something happens in one of the databases; no two things have one time."""
    clock[0] += 10
    database = connectors[number].database
    database.time = clock[0]
    database.step()
    clock[0] = max(clock[0], database.time)


def newest(connectors, begun):
    """The rows of both databases as of their last transactions, in the order in which these were committed."""
    rows, logs = dict(begun), [done for connector in connectors for done in connector.database.log]
    for done in sorted(logs, key=lambda done: done.time):
        for change in done.changes:
            apply(rows, change)
    return rows


def history(random, kinds, length):
    """What two connectors sent, one after the other at random, and the table as it must be."""
    connectors, clock, begun = two(random, kinds), [1_700_000_000_000], {}
    for number, connector in enumerate(connectors):
        for _ in range(random.randrange(12)):
            step(connectors, number, clock)
        connector.database.open, connector.database.time = [], clock[0] + number
        connector.snapshot()
        begun |= connector.database.rows
        # What was committed before is in the snapshot, and is never streamed.
        connector.database.log.clear()
    lanes = [connector.sent for connector in connectors]
    for _ in range(length):
        number = random.randrange(2)
        connector = connectors[number]
        for _ in range(random.randrange(8)):
            step(connectors, random.randrange(2), clock)
        what = random.choice(EVENTS)
        if what == "stream":
            connector.stream(random.choice((None, 1, 3)))
        elif what == "fail over":
            connector.stream()
            connector.database.fail_over(connector.read)
            connector.database.time = clock[0]
        else:
            getattr(connector, what)()
    for connector in connectors:
        connector.stream()
    sent, lanes = [], [list(lane) for lane in lanes]
    while any(lanes):
        sent.append(random.choice([lane for lane in lanes if lane]).pop(0))
    for number, one in enumerate(sent):
        note(f"{number}: {one.partition} {one.about}")
    return messages(sent, defaultdict(int)), shown(newest(connectors, begun))


@pytest.mark.parametrize("target", EXAMPLES)
def test_the_newest_by_the_sources_clocks_wins_whatever_the_cuts(contracts, target):
    @settings(max_examples=EXAMPLES[target], deadline=None, phases=PHASES, print_blob=True)
    @given(
        seed=st.integers(0, 1 << 32),
        kinds=st.tuples(*[st.sampled_from(["postgres", "mysql"])] * 2),
        length=st.integers(1, 14),
    )
    def check(seed, kinds, length):
        log, table = history(Random(seed), kinds, length)
        for cut in (Random(seed + 1), Random(seed + 2)):
            with tempfile.TemporaryDirectory() as folder, closing(opened(target, folder)) as sink:
                reader = LogReader(sink, contracts, TOPIC, PARTITIONS, cut, on_two_sources=OnTwoSources.NEWEST_TIME)
                reader.run(log, len(log))
                assert shown(reader.rows()) == table
                report = reader.proof(log)
                assert report.ok, report.to_json()

    check()


@pytest.mark.parametrize("target", EXAMPLES)
@pytest.mark.parametrize("kinds", [("postgres", "postgres"), ("mysql", "postgres"), ("mysql", "mysql")])
@pytest.mark.parametrize("snapshot", [False, True])
def test_a_second_source_stops_the_table_in_words(contracts, target, kinds, snapshot, tmp_path):
    east, west = two(Random(3), kinds)
    offsets = defaultdict(int)
    with closing(opened(target, tmp_path)) as sink:
        reader = LogReader(sink, contracts, TOPIC, PARTITIONS, Random(4))
        for connector in (east, west):
            connector.database.touch_all()
        east.stream()
        reader.commit(messages(east.sent, offsets))
        before = reader.rows()
        assert shown(before) == shown(east.table)
        if snapshot:
            west.snapshot()
        else:
            west.stream()
        words = (
            r"table t: two sources write into it, the connector east and the connector west \(in shop\.t\[\d\]\).*"
            r"Nothing was committed.*on_two_sources: separate_keys.*newest_time"
        )
        news = messages(west.sent, offsets)
        for _ in range(2):
            with pytest.raises(TableError, match=words):
                reader.commit(news)
        assert reader.rows() == before


def test_two_sources_in_one_commit_are_noticed_too(contracts, tmp_path):
    east, west = two(Random(5), ("postgres", "postgres"))
    for connector in (east, west):
        connector.database.touch_all()
        connector.stream()
    reader = LogReader(MemorySink(str(tmp_path)), contracts, TOPIC, PARTITIONS, Random(6))
    with pytest.raises(TableError, match="two sources write into it"):
        reader.commit(messages(east.sent + west.sent, defaultdict(int)))
    assert not reader.rows()


def test_a_key_in_both_sources_is_disputed_where_the_job_said_there_is_none(contracts, tmp_path):
    """The guard cannot know it: the table shows the higher position, here that of the older row."""
    east, west = two(Random(7), ("postgres", "postgres"))
    for connector in (west, east):
        connector.database.touch_all()
        connector.stream()
    log = messages(west.sent + east.sent, defaultdict(int))
    reader = LogReader(
        MemorySink(str(tmp_path)), contracts, TOPIC, PARTITIONS, Random(8), on_two_sources=OnTwoSources.SEPARATE_KEYS
    )
    reader.commit(log)
    report = reader.proof(log)
    assert not report.ok and "two sources wrote this key: the connector 'west' and the connector 'east'" in str(
        report.to_json()
    )
