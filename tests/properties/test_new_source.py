"""A source that was failed over, restored or began its log anew: no change of it is lost, whatever the cuts."""

import tempfile
from collections import defaultdict
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
from hypothesis import Phase, given, note, settings
from hypothesis import strategies as st
from support.log_reader import LogReader
from support.simulated_database import PARTITIONS, TOPIC, Connector, Database, messages

from millrace.schemas.errors import NewSourceError
from millrace.transforms.sinks import open_sink
from millrace.transforms.sinks.memory.sink import MemorySink

EXAMPLES = {"memory": 30, "duckdb": 3}
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
EVENTS = ("stream",) * 4 + ("store", "restart", "repeat", "fail over", "fail over", "reset")


def opened(target, folder):
    return (
        MemorySink(str(folder))
        if target == "memory"
        else open_sink("duckdb", {"path": str(Path(folder) / "out.duckdb")})
    )


def shown(rows):
    return {key: (row["text"], row["raw"]) for key, row in rows.items()}


def replace_source(database, connector, other_server):
    """The source is another one from here on: all that it does is later than what the old one did."""
    database.fail_over(connector.read, other_server)
    connector.commit = None
    connector.stream()
    database.touch_all()
    connector.stream(3)


def history(random, kind, snapshots, length):
    """What a connector sent of a database that is replaced now and then: the log, and the table as it must be."""
    # Not promised: a TRUNCATE in one partition beside a new source that begins in another.
    database = Database(random, kind, large=False, file=90, truncates=False)
    connector = Connector(database)
    connector.made_anew()
    for _ in range(length):
        for _ in range(random.randrange(8)):
            database.step()
        what = random.choice((*EVENTS, "incremental", "anew") if snapshots else EVENTS)
        if what == "stream":
            connector.stream(random.choice((None, 1, 3)))
        elif what == "incremental":
            connector.incremental()
        elif what == "anew":
            connector.made_anew()
        elif what in ("fail over", "reset"):
            replace_source(database, connector, what == "fail over")
        else:
            getattr(connector, what)()
    database.touch_all()
    connector.stream()
    for number, one in enumerate(connector.sent):
        note(f"{number}: {one.partition} {one.about}")
    return messages(connector.sent, defaultdict(int)), shown(connector.table)


@pytest.mark.parametrize("snapshots", [False, True])
@pytest.mark.parametrize("target", EXAMPLES)
def test_a_new_source_is_followed_whatever_the_cuts(contracts, target, snapshots):
    @settings(max_examples=EXAMPLES[target], deadline=None, phases=PHASES, print_blob=True)
    @given(seed=st.integers(0, 1 << 32), kind=st.sampled_from(["postgres", "mysql"]), length=st.integers(1, 14))
    def check(seed, kind, length):
        log, table = history(Random(seed), kind, snapshots, length)
        for cut in (Random(seed + 1), Random(seed + 2)):
            with tempfile.TemporaryDirectory() as folder, closing(opened(target, folder)) as sink:
                reader = LogReader(sink, contracts, TOPIC, PARTITIONS, cut, follow=True)
                reader.run(log, len(log))
                assert shown(reader.rows()) == table
                report = reader.proof(log)
                assert report.ok, report.to_json()

    check()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("other_server", [True, False])
def test_a_stopped_table_goes_on_once_a_person_accepts_the_source(contracts, other_server, seed, tmp_path):
    random = Random(seed)
    database = Database(random, "mysql", large=False, truncates=False)
    connector = Connector(database)
    database.touch_all()
    connector.stream()
    reader = LogReader(MemorySink(str(tmp_path)), contracts, TOPIC, PARTITIONS, Random(seed))
    for _ in range(2):
        while len(database.log) < connector.read + 5:
            database.step()
        replace_source(database, connector, other_server)
        connector.stream()
        log = messages(connector.sent, defaultdict(int))
        with pytest.raises(NewSourceError, match="millrace accept-source JOB --table t, or on_new_source: follow"):
            reader.run(log, len(log))
        reader.accept()
        reader.run(log, len(log))
        assert shown(reader.rows()) == shown(connector.table)
        assert reader.proof(log).ok
