"""The endless source: splits, marks, time, growth and draining, on the embedded broker."""

import itertools
import pickle
import time
from dataclasses import dataclass, field

import pytest
from apache_beam.metrics.execution import MetricsContainer
from apache_beam.runners.worker import statesampler
from apache_beam.utils.counters import CounterFactory
from apache_beam.utils.timestamp import MAX_TIMESTAMP, MIN_TIMESTAMP
from hypothesis import given
from hypothesis import strategies as st
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewPartitions, NewTopic
from support.record_batches import rows

from millrace.schemas.errors import LostOffsetsError
from millrace.schemas.model.ledger import TopicPartition
from millrace.transforms.sources import discovery
from millrace.transforms.sources.kafka.consumer_pool import POOL
from millrace.transforms.sources.kafka.record_batches import split
from millrace.transforms.sources.kafka.settings import KafkaSettings
from millrace.transforms.sources.kafka.source import KafkaSource
from millrace.transforms.sources.lag import readings
from millrace.transforms.sources.source import StartOffsets
from millrace.transforms.sources.stream import DRAIN, PartitionProgress, StreamMark, StreamRead, StreamSettings


@dataclass
class Fixed:
    """Beginnings as told; a new object says the same after pickling."""

    first: dict[TopicPartition, int]
    topic_ids: dict[str, int] = field(default_factory=dict)

    def find(self) -> StartOffsets:
        return StartOffsets(self.first, self.topic_ids)


@pytest.fixture(autouse=True)
def undrained(monkeypatch):
    monkeypatch.setattr(discovery, "LOOK_SECONDS", 0.2)
    DRAIN.clear()
    yield
    DRAIN.clear()
    discovery.close_discoveries()


def send(broker, topic, records):
    """(partition, value, timestamp in ms or None) in order."""
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap_servers)
    for partition, value, stamp in records:
        producer.send(topic, value, partition=partition, timestamp_ms=stamp).get(10)
    producer.close()


def stream(broker, topic, first, **settings):
    kafka = KafkaSource(KafkaSettings(broker.bootstrap_servers))
    return StreamRead(StreamSettings(kafka, (topic,), **settings), Fixed(first))


def values(reader, wanted, seconds=30):
    """What a reader gives, until `wanted` values are there."""
    found, deadline, more = [], time.monotonic() + seconds, reader.start()
    while len(found) < wanted:
        assert time.monotonic() < deadline, found
        if more:
            found += [row[3] for row in rows(split(reader.get_current())[0])]
        more = reader.advance() if len(found) < wanted else more
    return found


def test_it_splits_by_partition_and_keeps_one_for_those_that_come(embedded_broker, topic_name):
    topic = topic_name()
    embedded_broker.create_topic(topic, 2)
    send(embedded_broker, topic, [(0, b"skipped", None), (0, b"a", None), (1, b"b", None)])
    source = stream(embedded_broker, topic, {TopicPartition(topic, 0): 1, TopicPartition(topic, 1): 0})
    splits = [pickle.loads(pickle.dumps(part)) for part in source.split(20)]
    readers = [part.create_reader(None, None) for part in splits]
    assert [values(reader, 1) for reader in readers[:2]] == [[b"a"], [b"b"]]
    assert len(readers) == 3 and not readers[2].start()
    for reader in readers:
        reader.close()


def test_a_source_that_could_not_be_split_reads_all_partitions(embedded_broker, topic_name):
    topic = topic_name()
    embedded_broker.create_topic(topic, 3)
    send(embedded_broker, topic, [(part, b"%d" % part, None) for part in range(3)])
    source = stream(embedded_broker, topic, {TopicPartition(topic, part): 0 for part in range(3)})
    reader = source.create_reader(None, None)
    assert sorted(values(reader, 3)) == [b"0", b"1", b"2"]
    reader.close()


def test_a_reader_from_a_mark_goes_on_behind_it_with_the_same_consumer(embedded_broker, topic_name):
    topic = topic_name()
    embedded_broker.create_topic(topic, 1)
    (part, _) = stream(embedded_broker, topic, {TopicPartition(topic, 0): 0}).split(20)
    coder, mark, before = part.get_checkpoint_mark_coder(), None, POOL.created
    for number in range(5):
        send(embedded_broker, topic, [(0, b"%d" % number, None)])
        reader = pickle.loads(pickle.dumps(part)).create_reader(None, mark)
        assert values(reader, 1) == [b"%d" % number]
        mark = coder.decode(coder.encode(reader.get_checkpoint_mark()))
        reader.close()
    assert POOL.created - before <= 1


def test_a_reader_that_lies_idle_behind_its_mark_holds_no_consumer(embedded_broker, topic_name):
    """So Flink leaves them, until a minute has passed."""
    topic = topic_name()
    embedded_broker.create_topic(topic, 1)
    (part, _) = stream(embedded_broker, topic, {TopicPartition(topic, 0): 0}).split(20)
    mark, before, idle = None, POOL.created, []
    for number in range(20):
        send(embedded_broker, topic, [(0, b"%d" % number, None)])
        idle.append(part.create_reader(None, mark))
        assert values(idle[-1], 1) == [b"%d" % number]
        mark = idle[-1].get_checkpoint_mark()
    assert POOL.created - before <= 1
    send(embedded_broker, topic, [(0, b"20", None)])
    assert values(idle[-1], 1) == [b"20"]
    assert POOL.created - before <= 1
    for reader in idle:
        reader.close()


places = st.dictionaries(
    st.builds(TopicPartition, st.text(max_size=9), st.integers(0, 2**31 - 1)),
    st.builds(PartitionProgress, st.integers(0, 2**63 - 1), st.none() | st.integers(-(2**62), 2**62)),
)


@given(places, st.integers(0, 2**62))
def test_marks_survive_their_coder(found, arrived):
    coder = StreamRead(StreamSettings(KafkaSource(KafkaSettings("nowhere:1")), ()), None).get_checkpoint_mark_coder()
    assert coder.decode(coder.encode(StreamMark(found, arrived))) == StreamMark(found, arrived)


def test_time_by_arrival_never_runs_back(embedded_broker, topic_name, monkeypatch):
    topic = topic_name()
    embedded_broker.create_topic(topic, 1)
    (part, _) = stream(embedded_broker, topic, {TopicPartition(topic, 0): 0}).split(20)
    send(embedded_broker, topic, [(0, b"a", None)])
    reader = part.create_reader(None, None)
    values(reader, 1)
    first, mark = reader.get_current_timestamp(), reader.get_checkpoint_mark()
    reader.close()
    send(embedded_broker, topic, [(0, b"b", None)])
    monkeypatch.setattr(time, "time_ns", lambda: 1_000_000_000)
    reader = part.create_reader(None, mark)
    values(reader, 1)
    assert reader.get_current_timestamp() == reader.get_watermark() == first
    reader.close()


def test_an_idle_partition_holds_nothing_up(embedded_broker, topic_name):
    topic = topic_name()
    embedded_broker.create_topic(topic, 1)
    for by_event, behind in ((False, 1.0), (True, 5.0)):
        (part, _) = stream(embedded_broker, topic, {TopicPartition(topic, 0): 0}, by_event=by_event).split(20)
        reader = part.create_reader(None, None)
        deadline = time.monotonic() + 30
        while reader.advance() or float(reader.get_watermark()) < time.time() - behind:
            assert time.monotonic() < deadline
        reader.close()


def test_event_time_follows_the_records_and_is_capped_by_the_clock(embedded_broker, topic_name, monkeypatch):
    monkeypatch.setattr("millrace.transforms.sources.stream.IDLE_MS", 10**9)
    topic = topic_name()
    embedded_broker.create_topic(topic, 1)
    now = time.time_ns() // 1_000_000
    source = stream(embedded_broker, topic, {TopicPartition(topic, 0): 0}, by_event=True)
    (part, _) = source.split(20)
    reader = part.create_reader(None, None)
    reached = []
    for stamp in (now - 900_000, now - 990_000, now - 600_000, now + 3_600_000):
        send(embedded_broker, topic, [(0, b"x", stamp)])
        values(reader, 1)
        reached.append((reader.get_current().reached, float(reader.get_current_timestamp())))
    assert reached[0] == (now - 900_000, float(MIN_TIMESTAMP))
    assert all(later[0] >= earlier[0] for earlier, later in itertools.pairwise(reached))
    for (before, _), (_, stamp) in itertools.pairwise(reached):
        assert stamp >= before / 1000
    assert reached[-1][0] <= time.time_ns() // 1_000_000 < now + 3_600_000
    assert float(reader.get_watermark()) <= time.time()
    reader.close()


def test_what_is_read_is_in_beams_metrics(embedded_broker, topic_name):
    topic = topic_name()
    embedded_broker.create_topic(topic, 1)
    (part, _) = stream(embedded_broker, topic, {TopicPartition(topic, 0): 0}).split(20)
    reader = part.create_reader(None, None)
    send(embedded_broker, topic, [(0, b"x", time.time_ns() // 1_000_000 - 60_000), (0, b"y", None)])
    container = MetricsContainer("read")
    sampler = statesampler.StateSampler("", CounterFactory())
    statesampler.set_current_tracker(sampler)
    sampler.start()
    with sampler.scoped_state("read", "process", metrics_container=container):
        values(reader, 2)
    sampler.stop()
    statesampler.set_current_tracker(None)
    reader.close()
    gauges = {key.metric.name: gauge.value for key, gauge in container.get_cumulative().gauges.items()}
    assert gauges[f"{topic}[0].read"] == 2
    assert gauges[f"{topic}[0].end"] == 2
    assert 0 <= gauges[f"{topic}[0].behind_ms"] < 60_000
    assert readings()[TopicPartition(topic, 0)].next == 2


def test_a_bundle_ends_at_the_end_of_its_partitions_without_waiting(embedded_broker, topic_name, monkeypatch):
    topic = topic_name()
    embedded_broker.create_topic(topic, 1)
    (part, _) = stream(embedded_broker, topic, {TopicPartition(topic, 0): 0}).split(20)
    reader = part.create_reader(None, None)
    send(embedded_broker, topic, [(0, b"x", None)])
    values(reader, 1)
    monkeypatch.setattr("millrace.transforms.sources.stream.WAIT_SECONDS", 20.0)
    before = time.monotonic()
    assert not reader.advance()
    assert time.monotonic() - before < 10
    send(embedded_broker, topic, [(0, b"y", None)])
    assert reader.advance()
    reader.close()


def test_new_partitions_are_read_from_their_beginning(kafka_broker, topic_name):
    topic = topic_name()
    admin = KafkaAdminClient(bootstrap_servers=kafka_broker.bootstrap_servers)
    admin.create_topics([NewTopic(topic, 1, 1)])
    kafka = KafkaSource(KafkaSettings(kafka_broker.bootstrap_servers))
    known, fresh = TopicPartition(topic, 0), TopicPartition(topic, 1)
    beginnings = Fixed({known: 0, fresh: 0})
    later = StreamRead(StreamSettings(kafka, (topic,)), beginnings, StartOffsets({}), frozenset({known}))
    reader = later.create_reader(None, None)
    assert not reader.start()
    admin.create_partitions({topic: NewPartitions(2)})
    admin.close()
    send(kafka_broker, topic, [(1, b"new", None)])
    assert values(reader, 1) == [b"new"]
    mark = reader.get_checkpoint_mark()
    assert {source: place.next for source, place in mark.places.items()} == {fresh: 1}
    reader.close()
    again = later.create_reader(None, mark)
    send(kafka_broker, topic, [(1, b"newer", None)])
    assert values(again, 1) == [b"newer"]
    again.close()


def test_a_topic_made_anew_while_it_is_read_is_an_error(embedded_broker, topic_name):
    topic = topic_name()
    embedded_broker.create_topic(topic, 1)
    settings = StreamSettings(KafkaSource(KafkaSettings(embedded_broker.bootstrap_servers)), (topic,))
    later = StreamRead(settings, Fixed({}), StartOffsets({}, {topic: 12345}), frozenset({TopicPartition(topic, 0)}))
    reader = later.create_reader(None, None)
    with pytest.raises(LostOffsetsError, match=f"the topic {topic} was deleted and created again while it was read"):
        values(reader, 1)
    reader.close()


def test_a_drained_stream_ends_where_it_is(embedded_broker, topic_name):
    topic = topic_name()
    embedded_broker.create_topic(topic, 1)
    (part, later) = stream(embedded_broker, topic, {TopicPartition(topic, 0): 0}).split(20)
    send(embedded_broker, topic, [(0, b"a", None)])
    reader, other = part.create_reader(None, None), later.create_reader(None, None)
    values(reader, 1)
    DRAIN.set()
    send(embedded_broker, topic, [(0, b"b", None)])
    for one in (reader, other):
        assert not one.advance()
        assert one.get_watermark() == MAX_TIMESTAMP
    mark = reader.get_checkpoint_mark()
    assert {source: place.next for source, place in mark.places.items()} == {TopicPartition(topic, 0): 1}
    reader.close()
