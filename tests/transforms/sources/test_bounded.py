"""The Beam source on the embedded broker: each record once through a real FnApiRunner."""

import itertools
import pickle

import apache_beam as beam
import pytest
from apache_beam.io.unbounded_source import ReadFromUnboundedSource
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.window import FixedWindows
from apache_beam.utils.timestamp import MAX_TIMESTAMP
from hypothesis import given
from hypothesis import strategies as st
from kafka import KafkaProducer
from support.partition_reading import by_blocks, by_poll

from millrace.schemas.errors import LostOffsetsError, SourceError
from millrace.schemas.model.block import Block
from millrace.schemas.model.ledger import TopicPartition
from millrace.transforms.coders import BlockCoder
from millrace.transforms.sources.bounded import BoundedRead
from millrace.transforms.sources.kafka.cluster import open_broker
from millrace.transforms.sources.kafka.consumer_pool import POOL, ConsumerPool
from millrace.transforms.sources.kafka.record_batches import split
from millrace.transforms.sources.kafka.settings import KafkaSettings
from millrace.transforms.sources.kafka.source import KafkaSource
from millrace.transforms.sources.source import PartitionSpan


def fill(broker, topic, partitions=1, count=3000, size=100, **options):
    """`count` records in each partition; the value begins with partition and number."""
    broker.create_topic(topic, partitions)
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap_servers, linger_ms=20, batch_size=20_000, **options)
    for number in range(count):
        for partition in range(partitions):
            value = b"%d:%d:" % (partition, number)
            producer.send(topic, value.ljust(size, b"."), b"%d" % number, partition=partition)
    producer.flush()
    producer.close()
    with open_broker(KafkaSettings(broker.bootstrap_servers)) as asked:
        spans = asked.offsets([TopicPartition(topic, partition) for partition in range(partitions)])
    assert {high for _, high in spans.values()} == {count}


def test_offsets_of_the_block_are_kept_by_the_coder():
    coder = BlockCoder()
    block = Block("tópic", 7, 5, 2**40, b"data" * 1000)
    assert coder.decode(coder.encode(block)) == block
    assert coder.estimate_size(block) == pytest.approx(len(coder.encode(block)), abs=8)
    assert beam.coders.registry.get_coder(Block) == coder


@given(st.text(max_size=30), st.integers(0, 2**31 - 1), st.integers(0, 2**62), st.binary(max_size=50))
def test_coder_round_trip(topic, partition, first, data):
    block = Block(topic, partition, first, first + 1, data)
    assert BlockCoder().decode(BlockCoder().encode(block)) == block


@pytest.mark.parametrize("records_per_bundle", [1, 10_000])
def test_each_record_once_through_a_pipeline(embedded_broker, topic_name, records_per_bundle):
    topic = topic_name()
    fill(embedded_broker, topic, partitions=3, count=4000, size=1500)
    spans = [PartitionSpan(topic, partition, 10, 3990, stamp=100.0) for partition in range(3)]
    source = BoundedRead(KafkaSource(KafkaSettings(embedded_broker.bootstrap_servers)), spans)
    before = POOL.created
    with beam.Pipeline("FnApiRunner") as pipeline:
        read = ReadFromUnboundedSource(
            source, poll_interval=0, max_records_per_bundle=records_per_bundle, max_read_time_seconds=1
        )
        found = (
            pipeline
            | read
            | beam.Map(lambda block: ((block.topic, block.partition), (block.first, block.stop, numbers(block))))
            | beam.WindowInto(FixedWindows(60))
            | beam.GroupByKey()
            | beam.MapTuple(lambda source, parts, at=beam.DoFn.WindowParam: (source, joined(parts), float(at.start)))
        )
        expected = [((topic, part), (10, 3990, [(part, n) for n in range(10, 3990)]), 60.0) for part in range(3)]
        assert_that(found, equal_to(expected))
    assert POOL.created - before <= 3 + 1


def numbers(block):
    records, letters = split(block)
    assert letters == []
    return [tuple(int(part) for part in records.value(row).split(b":")[:2]) for row in range(len(records))]


def joined(parts):
    """(first, stop, records) of contiguous parts."""
    parts = sorted(parts)
    for one, two in itertools.pairwise(parts):
        assert one[1] == two[0]
    return parts[0][0], parts[-1][1], [record for part in parts for record in part[2]]


def test_a_reader_from_a_mark_goes_on_behind_it(embedded_broker, topic_name):
    topic = topic_name()
    fill(embedded_broker, topic, count=3000, size=3000)
    source = BoundedRead(
        KafkaSource(KafkaSettings(embedded_broker.bootstrap_servers)), [PartitionSpan(topic, 0, 0, 3000, stamp=1.0)]
    )
    coder = source.get_checkpoint_mark_coder()
    mark, found = None, []
    while True:
        reader = pickle.loads(pickle.dumps(source)).create_reader(None, mark)
        if not reader.start():
            break
        found += numbers(reader.get_current())
        assert reader.get_current_timestamp() == reader.get_watermark() == 1.0
        mark = coder.decode(coder.encode(reader.get_checkpoint_mark()))
        reader.close()
    assert reader.get_watermark() == MAX_TIMESTAMP
    reader.close()
    assert found == [(0, number) for number in range(3000)]


def test_the_consumer_of_a_partition_is_used_again(embedded_broker, topic_name):
    topic = topic_name()
    embedded_broker.create_topic(topic, 2)
    pool = ConsumerPool()
    settings = KafkaSettings(embedded_broker.bootstrap_servers)
    one = pool.acquire(settings, TopicPartition(topic, 0), 0)
    two = pool.acquire(settings, TopicPartition(topic, 1), 0)
    one.next = 5
    pool.release(two)
    pool.release(one)
    assert pool.acquire(settings, TopicPartition(topic, 0), 3).consumer is one.consumer
    assert pool.acquire(settings, TopicPartition(topic, 1), 0).consumer is two.consumer
    assert one.consumer.position(one.partition) == 3
    assert pool.created == 2
    pool.release(one)
    pool.release(two)
    pool.close()


def test_a_source_without_spans_ends_at_once():
    reader = BoundedRead(KafkaSource(KafkaSettings("nowhere:1")), []).create_reader(None, None)
    assert not reader.start()
    assert reader.get_watermark() == MAX_TIMESTAMP


def test_an_empty_span_needs_no_broker():
    source = BoundedRead(KafkaSource(KafkaSettings("nowhere:1")), [PartitionSpan("t", 0, 5, 5)])
    reader = source.create_reader(None, None)
    assert not reader.start()
    assert reader.get_watermark() == MAX_TIMESTAMP


def test_an_endless_source_goes_on(embedded_broker, topic_name):
    topic = topic_name()
    fill(embedded_broker, topic, count=10)
    source = BoundedRead(KafkaSource(KafkaSettings(embedded_broker.bootstrap_servers)), [PartitionSpan(topic, 0, 0)])
    reader = source.create_reader(None, None)
    assert reader.start()
    assert len(numbers(reader.get_current())) == 10
    assert not reader.advance()
    assert reader.get_watermark() < MAX_TIMESTAMP
    producer = KafkaProducer(bootstrap_servers=embedded_broker.bootstrap_servers)
    producer.send(topic, b"0:10:").get(10)
    producer.close()
    assert reader.advance()
    assert numbers(reader.get_current()) == [(0, 10)]
    reader.close()


@pytest.mark.parametrize(("first", "stop"), [(0, 3000), (1, 2), (1234, 1235), (17, 2990), (2999, 3000)])
def test_any_part_of_the_log(embedded_broker, topic_name, first, stop):
    topic = topic_name()
    fill(embedded_broker, topic)
    servers = embedded_broker.bootstrap_servers
    found, _ = by_blocks(servers, topic, first, stop)
    assert found == by_poll(servers, topic, first, stop)
    assert [row[0] for row in found] == list(range(first, stop))


def test_offsets_beyond_the_end_are_lost(embedded_broker, topic_name):
    topic = topic_name()
    fill(embedded_broker, topic, count=10)
    with pytest.raises(LostOffsetsError, match=rf"{topic}\[0\]: offset 500 is gone, the source holds 0 to 10"):
        by_blocks(embedded_broker.bootstrap_servers, topic, 500, 510)


def test_topics_by_name_and_by_pattern(embedded_broker, topic_name):
    one, two = topic_name("orders"), topic_name("orders")
    embedded_broker.create_topic(one, 3)
    with open_broker(KafkaSettings(embedded_broker.bootstrap_servers)) as broker:
        assert broker.topics([one]) == {one: [0, 1, 2]}
        embedded_broker.create_topic(two, 1)
        assert broker.topics(pattern=f"{one}|{two}") == {one: [0, 1, 2], two: [0]}
        assert broker.topics(pattern=one[:-1]) == {}
        with pytest.raises(SourceError, match=f"no topic '{one}x'.*did you mean '{one}'"):
            broker.topics([one + "x"])
