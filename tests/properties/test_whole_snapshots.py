"""`on_snapshot: replace`: behind a whole snapshot the table is what the source holds, whatever cuts and mode."""

import tempfile
from collections import defaultdict
from contextlib import closing
from random import Random

import pytest
from hypothesis import Phase, given, note, settings
from hypothesis import strategies as st
from support.log_reader import TABLE, LogReader
from support.simulated_database import PARTITIONS, TOPIC, Connector, Database, messages

from millrace.schemas.merging.whole_snapshots import whole_snapshots
from millrace.schemas.model.modes import Mode
from millrace.schemas.model.route import OnSnapshot
from millrace.transforms.sinks.memory.sink import MemorySink

EXAMPLES = {Mode.MIRROR: 12, Mode.SOFT_DELETE: 8, Mode.SCD2: 8}
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
EVENTS = ("stream",) * 4 + ("store", "restart", "repeat", "incremental", "again", "anew", "anew", "broken off")


def history(random, kind, length):
    """Steps of (messages, the table as it must be then, or None where older values may show for a while)."""
    # What a TRUNCATE in another partition does to a snapshot's rows is not promised (docs/guarantees.md).
    database = Database(random, kind, large=False, truncates=False)
    connector = Connector(database, replaces=True)
    steps, offsets = [], defaultdict(int)
    for _ in range(random.randrange(20)):
        database.step()
    connector.made_anew()
    for _ in range(length):
        for _ in range(random.randrange(8)):
            database.step()
        what = random.choice(EVENTS)
        if what == "stream":
            connector.stream(random.choice((None, 1, 3)))
        elif what in ("again", "anew"):
            {"again": connector.snapshot, "anew": connector.made_anew}[what]()
            if what == "anew":
                # It knows nothing of what its predecessor sent, so it repeats nothing of it.
                connector.sources.clear()
        elif what == "broken off":
            connector.broken_off()
            connector.made_anew()
            connector.sources.clear()
        else:
            getattr(connector, what)()
        if random.random() < 0.7:
            steps.append((_told(connector, offsets), dict(connector.table) if connector.settled else None))
    connector.stream()
    steps.append((_told(connector, offsets), dict(connector.table)))
    return steps


def _told(connector, offsets):
    sent, connector.sent = connector.sent, []
    found = messages(sent, offsets)
    for one, place in zip(sent, found, strict=True):
        note(f"{place.partition}@{place.offset} {place.timestamp % 10_000_000} {one.about}")
    return found


def cuts(random, found):
    lanes = [[one for one in found if one.partition == number] for number in range(PARTITIONS)]
    while any(lanes):
        sizes = [random.randint(0, len(lane)) for lane in lanes]
        part = [one for lane, size in zip(lanes, sizes, strict=True) for one in lane[:size]]
        lanes = [lane[size:] for lane, size in zip(lanes, sizes, strict=True)]
        if part:
            yield part


def shown(rows):
    return {key: (row["text"], row["raw"]) for key, row in rows.items()}


@pytest.mark.parametrize("mode", EXAMPLES)
def test_a_whole_snapshot_ends_what_it_does_not_have(contracts, mode):
    @settings(max_examples=EXAMPLES[mode], deadline=None, phases=PHASES, print_blob=True)
    @given(seed=st.integers(0, 1 << 32), kind=st.sampled_from(["postgres", "mysql"]), length=st.integers(1, 12))
    def check(seed, kind, length):
        steps = history(Random(seed), kind, length)
        ends = []
        for cut in (Random(seed + 1), Random(seed + 2)):
            with tempfile.TemporaryDirectory() as folder, closing(MemorySink(folder)) as sink:
                reader = LogReader(sink, contracts, TOPIC, PARTITIONS, cut, mode=mode, on_snapshot=OnSnapshot.REPLACE)
                read = []
                for found, table in steps:
                    reader.source.know(found)
                    for part in cuts(cut, found):
                        note("commit of " + ", ".join(f"{one.partition}@{one.offset}" for one in part))
                        reader.commit(part)
                    read += found
                    # A row that the last message of a partition wrote waits for the next one.
                    if table is not None and not whole_snapshots(reader.ledger.marks):
                        assert shown(reader.rows()) == shown(table)
                report = reader.proof(read)
                assert report.ok, report.to_json()
                ends.append(_all(sink))
        assert ends[0] == ends[1]

    check()


def test_a_table_of_the_source_takes_no_rows_of_another_in_the_same_topic(contracts):
    """A row does not tell which of them it is of: the end of a snapshot deletes nothing, and says so."""

    @settings(max_examples=12, deadline=None, phases=PHASES, print_blob=True)
    @given(seed=st.integers(0, 1 << 32), kind=st.sampled_from(["postgres", "mysql"]), length=st.integers(1, 12))
    def check(seed, kind, length):
        random = Random(seed)
        database = Database(random, kind, large=False, truncates=False, tables=("a", "b"))
        connector, read, offsets = Connector(database), [], defaultdict(int)
        database.touch_all()
        connector.made_anew()
        with tempfile.TemporaryDirectory() as folder, closing(MemorySink(folder)) as sink:
            reader = LogReader(sink, contracts, TOPIC, PARTITIONS, random, on_snapshot=OnSnapshot.REPLACE)
            for _ in range(length):
                for _ in range(random.randrange(8)):
                    database.step()
                what = random.choice(("stream", "a", "b", "anew"))
                if what == "stream":
                    connector.stream()
                elif what == "anew":
                    connector.made_anew()
                    connector.sources.clear()
                else:
                    connector.stream()
                    connector.snapshot_of(what)
                found = _told(connector, offsets)
                reader.source.know(found)
                for part in cuts(random, found):
                    outcome = reader.commit(part)
                    assert not outcome.replaced and (not outcome.kept or "several tables of the source" in outcome.kept)
                read += found
            connector.stream()
            found = _told(connector, offsets)
            for part in cuts(random, found):
                reader.commit(part)
            assert shown(reader.rows()) == shown(connector.table)
            report = reader.proof(read + found)
            assert report.ok, report.to_json()

    check()


def _all(sink):
    """Every row with its mode's columns."""
    batches = sink.scan(TABLE) if TABLE in sink.tables() else ()
    return sorted(repr(row) for batch in batches for row in batch.to_pylist())
