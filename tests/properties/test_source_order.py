"""Whatever a source and its connector do, and wherever commits are cut, the table is that of the source."""

import tempfile
from collections import defaultdict
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
from hypothesis import Phase, given, note, settings
from hypothesis import strategies as st
from support.debezium_stream import GONE, Stream, contracts_in, row, wire
from support.log_reader import LogReader
from support.simulated_database import KEYS, PARTITIONS, TOPIC, Connector, Database, messages

from millrace.schemas.errors import NewSourceError
from millrace.schemas.model.route import OnTwoSources
from millrace.transforms.sinks import open_sink
from millrace.transforms.sinks.memory.sink import MemorySink

EXAMPLES = {"memory": 25, "duckdb": 4}
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
REPEATS = ("stream",) * 5 + ("store", "restart", "restart", "repeat")
SNAPSHOTS = ("incremental", "again", "anew")


def history(random, kind, large, length, events):
    """Steps of (what, messages, the table as it must be then); None where an older value may show for a while."""
    # Not promised: a TRUNCATE in one partition beside a snapshot in another.
    database = Database(random, kind, large, truncates=not set(SNAPSHOTS) & set(events))
    connector = Connector(database)
    for _ in range(random.randrange(20)):
        database.step()
    connector.made_anew()
    steps, offsets = [], defaultdict(int)

    def told(what):
        sent, connector.sent = connector.sent, []
        steps.append((what, sent, messages(sent, offsets), dict(connector.table) if connector.settled else None))

    told("snapshot")
    for _ in range(length):
        for _ in range(random.randrange(6)):
            database.step()
        what = random.choice(events)
        if what == "stream":
            connector.stream(random.choice((None, 1, 3)))
        elif what == "store":
            connector.store()
        elif what == "restart":
            connector.restart()
        elif what == "repeat":
            connector.repeat()
        elif what == "incremental":
            connector.incremental()
        elif what == "again":
            if large:
                connector.stream()
            connector.snapshot()
        else:
            connector.made_anew()
        if random.random() < 0.7:
            told(what)
    connector.stream()
    told("end")
    return steps


def cuts(random, sent, found, whole):
    """The messages of a step in commits; `whole`: what stands together stays together, else partitions go on apart."""
    if whole:
        borders = [at for at in range(1, len(sent)) if sent[at].group != sent[at - 1].group]
        chosen = sorted(random.sample(borders, random.randint(0, min(len(borders), 4))))
        return [found[a:b] for a, b in zip([0, *chosen], [*chosen, len(found)], strict=True)]
    lanes = [[one for one in found if one.partition == number] for number in range(PARTITIONS)]
    commits = []
    while any(lanes):
        sizes = [random.randint(0, len(lane)) for lane in lanes]
        commits.append([one for lane, size in zip(lanes, sizes, strict=True) for one in lane[:size]])
        lanes = [lane[size:] for lane, size in zip(lanes, sizes, strict=True)]
    return [part for part in commits if part]


def shown(rows):
    return {key: (row["text"], row["raw"]) for key, row in rows.items()}


def followed(reader, steps, random, whole, check=True):
    """Read the steps, and compare the table with the database's after each; the messages that were read."""
    read = []
    for what, sent, found, table in steps:
        for part in cuts(random, sent, found, whole):
            note(f"{what}: commit of " + ", ".join(f"{one.partition}@{one.offset}" for one in part))
            reader.commit(part)
        read += found
        for one, place in zip(sent, found, strict=True):
            note(f"  {place.partition}@{place.offset} {one.about}")
        if table is not None and check:
            held, wanted = shown(reader.rows()), shown(table)
            assert held == wanted, (
                what,
                {
                    key: (held.get(key), wanted.get(key))
                    for key in held.keys() | wanted.keys()
                    if held.get(key) != wanted.get(key)
                },
            )
    return read


def opened(target, folder):
    return (
        MemorySink(str(folder))
        if target == "memory"
        else open_sink("duckdb", {"path": str(Path(folder) / "out.duckdb")})
    )


def check_histories(contracts, target, events, examples):
    @settings(max_examples=examples, deadline=None, phases=PHASES, print_blob=True)
    @given(
        seed=st.integers(0, 1 << 32),
        kind=st.sampled_from(["postgres", "mysql"]),
        large=st.booleans(),
        length=st.integers(1, 12),
    )
    def check(seed, kind, large, length):
        steps = history(Random(seed), kind, large, length, events)
        ends = []
        for cut in (Random(seed + 1), Random(seed + 2)):
            with tempfile.TemporaryDirectory() as folder, closing(opened(target, folder)) as sink:
                reader = LogReader(sink, contracts, TOPIC, PARTITIONS, cut)
                read = followed(reader, steps, cut, whole=large)
                report = reader.proof(read)
                assert report.ok, report.to_json()
                ends.append(shown(reader.rows()))
        assert ends[0] == ends[1]

    check()


@pytest.mark.parametrize("target", EXAMPLES)
def test_repeated_changes_change_nothing(contracts, target):
    check_histories(contracts, target, REPEATS, EXAMPLES[target])


@pytest.mark.parametrize("target", EXAMPLES)
def test_snapshots_stand_where_they_stand_in_the_log(contracts, target):
    check_histories(contracts, target, REPEATS + SNAPSHOTS, EXAMPLES[target])


@pytest.mark.parametrize("target", EXAMPLES)
@pytest.mark.parametrize("other_server", [True, False])
def test_a_source_whose_numbers_begin_again_stops_the_table_in_words(contracts, target, other_server, tmp_path):
    database = Database(Random(1), "mysql")
    connector, offsets = Connector(database), defaultdict(int)
    connector.snapshot()
    with closing(opened(target, tmp_path)) as sink:
        reader = LogReader(sink, contracts, TOPIC, PARTITIONS, Random(2))
        while len(database.log) < 12:
            database.step()
        connector.stream()
        connector.restart()
        reader.commit(messages(connector.sent, offsets))
        before, connector.sent = reader.rows(), []
        assert shown(before) == shown(connector.table)
        database.fail_over()
        database.server -= 0 if other_server else 101
        while len(database.log) < 18:
            database.step()
        connector.stream()
        news = messages(connector.sent, offsets)
        words = r"table t: shop\.t\[\d\] offset \d+: changes of a new source begin here.*server (202|101), at 2023"
        with pytest.raises(NewSourceError, match=words):
            reader.commit(news)
        assert reader.rows() == before


@pytest.mark.parametrize("target", EXAMPLES)
@pytest.mark.parametrize("seed", range(3))
def test_two_connectors_of_one_topic_do_not_stop_each_other(contracts, target, seed, tmp_path):
    random, offsets = Random(seed), defaultdict(int)
    east = Connector(Database(random, "mysql", name="east", truncates=False))
    west = Connector(
        Database(random, "mysql", name="west", first_key=KEYS, server=777, file=2, lsn=90_000, truncates=False)
    )
    with closing(opened(target, tmp_path)) as sink:
        apart = OnTwoSources.SEPARATE_KEYS
        reader, read = LogReader(sink, contracts, TOPIC, PARTITIONS, random, on_two_sources=apart), []
        for _ in range(8):
            for connector in (east, west):
                for _ in range(12):
                    connector.database.step()
                random.choice((connector.stream, connector.snapshot, connector.incremental, connector.restart))()
                connector.stream()
            lanes = [east.sent, west.sent]
            east.sent, west.sent = [], []
            sent = [lane.pop(0) for lane in random.sample(lanes * 500, 1000) if lane]
            read += messages(sent, offsets)
            reader.commit(read[-len(sent) :])
            assert shown(reader.rows()) == shown({**east.table, **west.table})
        assert reader.proof(read).ok
        west.database.fail_over()
        while not west.sent:
            west.database.step()
            west.stream()
        with pytest.raises(NewSourceError, match=r"They are of the connector west\..*server 878, at 2023"):
            reader.commit(messages(west.sent, offsets))


def test_a_repeated_older_change_lends_no_large_value(tmp_path):
    stream = Stream()
    stream.put(1, 100, "1", raw=b"old", op="c").put(1, 110, "2", raw=b"new")
    stream.put(2, 120, "1", raw=b"old", op="c").delete(2, 130).put(2, 140, "2", raw=b"new", op="c")
    before = len(stream.messages)
    stream.put(1, 100, "1", raw=b"old", op="c").put(1, 150, "3", raw=GONE.encode())
    stream.delete(2, 130).put(2, 160, "3", raw=GONE.encode())
    reader = LogReader(MemorySink(str(tmp_path)), contracts_in(tmp_path), "t", 1, Random(1))
    reader.commit(stream.messages[:before])
    reader.commit(stream.messages[before:])
    assert shown(reader.rows()) == {1: ("3", b"new"), 2: ("3", b"new")}
    assert reader.proof(stream.messages).ok


@pytest.mark.parametrize("cut", range(5))
def test_a_snapshot_row_wins_over_the_highest_change_come_again(tmp_path, cut):
    stream = Stream().put(1, 100, "old").put(1, 90, "snapshot", op="r").put(1, 100, "old").put(2, 80, "r", op="r")
    stream.change("u", 2, 60, row(2, "open"), commit=101)
    reader = LogReader(MemorySink(str(tmp_path)), contracts_in(tmp_path), "t", 1, Random(cut))
    for part in (stream.messages[:cut], stream.messages[cut:]):
        if part:
            reader.commit(part)
    assert {key: one["text"] for key, one in reader.rows().items()} == {1: "snapshot", 2: "open"}
    assert reader.proof(stream.messages).ok


@pytest.mark.parametrize("cut", range(6))
def test_a_streamed_change_without_a_position_is_newer_than_what_stands_before_it(tmp_path, cut):
    """Some connectors leave `lsn` and `sequence` NULL now and then: no replay, though its position is the lowest."""
    stream = Stream().put(1, 100, "old").put(2, 110, "old")
    for op, key, after in (("u", 1, row(1, "null")), ("d", 2, None)):
        value = {"before": None, "after": after, "source": {"lsn": None, "sequence": None}, "op": op}
        stream.raw(wire(1, {"id": key}), wire(2, value))
    stream.put(3, 120, "new").put(1, 130, "newer")
    reader = LogReader(MemorySink(str(tmp_path)), contracts_in(tmp_path), "t", 1, Random(cut))
    for part in (stream.messages[:cut], stream.messages[cut:]):
        if part:
            reader.commit(part)
    assert {key: one["text"] for key, one in reader.rows().items()} == {1: "newer", 3: "new"}
    assert reader.proof(stream.messages).ok
