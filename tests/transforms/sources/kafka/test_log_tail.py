"""A broker without epochs: the last batch that was read is told from another one at its place."""

import pytest
from kafka import KafkaProducer
from support.sources import blocks_of

from millrace.schemas.model.ledger import TopicPartition
from millrace.transforms.sources.kafka.log_tail import LogTail, tail_of
from millrace.transforms.sources.kafka.settings import KafkaSettings
from millrace.transforms.sources.kafka.source import KafkaSource
from millrace.transforms.sources.source import ReadUpTo

RECORDS = 10


@pytest.fixture
def read(embedded_broker, topic_name):
    """The source, a partition of `RECORDS` messages, and what is remembered of it."""
    source = KafkaSource(KafkaSettings(embedded_broker.bootstrap_servers))
    partition = TopicPartition(topic_name("read"), 0)
    embedded_broker.create_topic(partition.topic, 1)
    producer = KafkaProducer(bootstrap_servers=embedded_broker.bootstrap_servers, linger_ms=50)
    for number in range(RECORDS):
        producer.send(partition.topic, b"%d" % number, partition=0)
    producer.close()
    (*_, block) = blocks_of(source.reader(partition, 0, RECORDS))
    return source, partition, block


def lost(read, **changed) -> list[int]:
    source, partition, block = read
    connection = source.connect()
    tail = LogTail.of_text(block.tail)._replace(epoch=-1, **changed)
    found = connection.cut_short([ReadUpTo(partition, tail.text)])
    connection.close()
    return list(found.values())


def test_the_same_batch_is_the_same_log(read):
    assert lost(read) == []


def test_another_batch_at_its_place_is_another_log(read):
    base = LogTail.of_text(read[2].tail).base
    assert lost(read, crc=1) == [base]
    assert lost(read, last=RECORDS + 3) == [base]


def test_a_batch_that_lost_records_may_have_been_compacted(read):
    assert lost(read, crc=1, records=RECORDS + 5) == []


def test_a_block_that_ends_inside_what_was_fetched_knows_the_epoch_of_its_last_batch_alone(read):
    block = read[2]
    assert tail_of(block.data, RECORDS + 2, None).at == RECORDS
    assert tail_of(block.data, RECORDS + 2, 5)[:2] == (RECORDS + 2, 5)
    assert tail_of(b"", RECORDS, None) == LogTail(RECORDS)
