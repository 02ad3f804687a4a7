"""When the end of a snapshot deletes nothing, and what is said of it."""

import json
from collections import defaultdict
from dataclasses import replace
from random import Random

import pytest
from support.log_reader import JOB, LogReader
from support.log_source import block_of
from support.record_batches import HEADER, read, with_body
from support.simulated_database import PARTITIONS, SCHEMAS, TOPIC, Connector, Database, messages

from millrace.schemas.encodings.avro.schema_text import AVRO
from millrace.schemas.encodings.schema_store import FolderSchemaStore
from millrace.schemas.errors import TableError
from millrace.schemas.model.route import OnSnapshot, OnTwoSources
from millrace.transforms.sinks.memory.sink import MemorySink
from millrace.transforms.steps import commit
from millrace.transforms.steps.snapshot_ends import DEAD, LOST, SEVERAL, SnapshotEnds


class Log:
    """A table and what its connector has sent; the reader's clock stands at the end of the log."""

    def __init__(self, folder, policy=OnSnapshot.REPLACE):
        for number, schema in SCHEMAS.items():
            (folder / f"{number}.avsc").write_text(json.dumps(schema))
        contracts = FolderSchemaStore(folder, AVRO)
        self.sink, self.offsets = MemorySink(str(folder)), defaultdict(int)
        self.reader = LogReader(self.sink, contracts, TOPIC, PARTITIONS, Random(3), on_snapshot=policy)
        self.database = Database(Random(1), large=False, truncates=False)
        self.connector = Connector(self.database, replaces=True)
        self.database.touch_all()
        self.connector.snapshot()
        self.commit()

    def sent(self):
        found = messages(self.connector.sent, self.offsets)
        self.connector.sent = []
        self.reader.source.know(found)
        return found

    def commit(self):
        return self.reader.commit(self.sent())

    def act(self, late=1.0):
        clock = self.connector.clock / 1000 + late
        ends = SnapshotEnds(job=JOB, route=self.reader.route, decoders=self.reader.decoders, now=lambda: clock)
        return ends.act(self.sink)

    @property
    def kept(self):
        return {one.kept for mark in self.reader.ledger.marks.values() for one in mark.ended.values()}


@pytest.fixture
def log(tmp_path):
    return Log(tmp_path)


def test_a_partition_in_which_nothing_follows_is_waited_for_and_not_for_ever(log, monkeypatch):
    del log.database.rows[3]
    log.connector.snapshot()
    monkeypatch.setattr(commit, "_with_snapshots", lambda sink, settings, made: made)
    log.commit()
    assert (log.act().deleted, 3 in log.reader.rows()) == (0, True)
    assert (log.act(late=400).deleted, 3 in log.reader.rows()) == (1, False)
    assert log.act(late=400).deleted == 0


def test_what_follows_in_all_partitions_shows_that_the_snapshot_was_read(log, monkeypatch):
    del log.database.rows[3]
    log.connector.snapshot()
    log.connector.read = len(log.database.log)
    log.database.touch_all()
    log.connector.stream()
    monkeypatch.setattr(commit, "_with_snapshots", lambda sink, settings, made: made)
    log.commit()
    log.act()
    assert log.reader.rows().keys() == set(range(6))
    assert log.kept == {""}


def test_a_snapshot_that_is_broken_off_ends_nothing(log):
    del log.database.rows[3]
    log.connector._send_snapshot(list(log.database.rows.values()), 4)
    log.commit()
    assert (log.act(late=400).deleted, 3 in log.reader.rows()) == (0, True)
    log.connector.snapshot()
    log.commit()
    assert 3 not in log.reader.rows()


def test_an_end_without_a_beginning_ends_nothing(log):
    log.database.rows = {5: log.database.rows[5]}
    log.connector.snapshot()
    log.commit()
    assert (log.act(late=400).deleted, len(log.reader.rows())) == (0, 6)


def test_a_dead_letter_in_the_snapshot_keeps_all_rows(log, monkeypatch):
    del log.database.rows[3]
    log.connector.snapshot()
    monkeypatch.setattr(commit, "_with_snapshots", lambda sink, settings, made: made)
    log.commit()
    lane = log.reader.source.log[0]
    lane[-1] = lane[-1]._replace(value=b"bad")
    assert (log.act(late=400).kept, len(log.reader.rows()), log.kept) == (DEAD, 6, {DEAD})


def test_a_snapshot_that_the_topic_has_lost_keeps_all_rows(log, monkeypatch):
    del log.database.rows[3]
    log.connector.snapshot()
    monkeypatch.setattr(commit, "_with_snapshots", lambda sink, settings, made: made)
    log.commit()
    log.reader.source.forget(0, log.offsets[0] - 1)
    assert (log.act(late=400).kept, len(log.reader.rows()), log.kept) == (LOST, 6, {LOST})


def test_rows_of_several_connectors_stay(log):
    del log.database.rows[3]
    log.database.name = "other"
    log.reader.route = replace(log.reader.route, on_two_sources=OnTwoSources.SEPARATE_KEYS)
    log.connector.snapshot()
    assert log.commit().kept == SEVERAL
    assert len(log.reader.rows()) == 6


def test_a_further_snapshot_is_told_where_it_deletes_nothing(tmp_path):
    log = Log(tmp_path, OnSnapshot.UPSERT)
    log.database.touch_all()
    log.connector.stream()
    assert not log.commit().again
    log.connector.snapshot()
    assert log.commit().again
    log.connector.stream()
    log.database.touch_all()
    log.connector.stream()
    assert not log.commit().again


def appended(block):
    """The block as a broker keeps it whose topic has message.timestamp.type=LogAppendTime: its own clock's times."""
    body, log_append_time = block.data[HEADER:], 0x08
    return replace(block, data=with_body(block.data, body, attributes=log_append_time))


@pytest.mark.parametrize(
    ("policy", "partitions", "refused"),
    [(OnSnapshot.REPLACE, 2, True), (OnSnapshot.REPLACE, 1, False), (OnSnapshot.UPSERT, 2, False)],
)
def test_times_of_several_servers_say_nothing_of_what_stands_behind_a_snapshot(tmp_path, policy, partitions, refused):
    log = Log(tmp_path, policy)
    log.connector.snapshot()
    block = block_of([one for one in log.sent() if one.partition == 0])
    route = replace(log.reader.route, sources=log.reader.route.sources[:partitions])
    decode = log.reader.decoders.decoder(TOPIC, route)
    assert decode(block).read == len(read(block.data))
    if refused:
        with pytest.raises(
            TableError, match=r"needs the times that the connector gave.*shop\.t\[0\] from offset \d+ on"
        ):
            decode(appended(block))
    else:
        assert decode(appended(block)).read == len(read(block.data))
