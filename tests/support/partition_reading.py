"""Reading a partition twice: by Millrace's blocks, and by kafka-python's public `poll`."""

import time

from kafka import KafkaConsumer, TopicPartition

from millrace.schemas.model import ledger
from millrace.transforms.sources.kafka.partition_reader import PartitionReader
from millrace.transforms.sources.kafka.record_batches import split
from millrace.transforms.sources.kafka.settings import KafkaSettings
from support.record_batches import rows


def by_blocks(servers, topic, first, stop, partition=0, patience=20.0, each=None):
    """(rows, blocks); asserts that the blocks cover [first, stop) without holes. `each` is called after each block."""
    reader = PartitionReader(
        KafkaSettings(servers), ledger.TopicPartition(topic, partition), first, stop, patience=patience
    )
    found, blocks = [], []
    try:
        while not reader.done:
            block = reader.read(1.0)
            if block is not None:
                assert block.first == (blocks[-1].stop if blocks else first)
                blocks.append(block)
                records, letters = split(block)
                assert letters == []
                found += rows(records)
                if each is not None:
                    each()
    finally:
        reader.close()
    assert not blocks or blocks[-1].stop == stop
    return found, blocks


def by_poll(servers, topic, first, stop, partition=0):
    """The committed records with offsets in [first, stop)."""
    consumer = KafkaConsumer(
        bootstrap_servers=servers, isolation_level="read_committed", auto_offset_reset="none", group_id=None
    )
    source = TopicPartition(topic, partition)
    consumer.assign([source])
    consumer.seek(source, first)
    found = []
    deadline = time.monotonic() + 30
    while consumer.position(source) < stop:
        assert time.monotonic() < deadline
        for record in consumer.poll(200).get(source, ()):
            found.append((record.offset, record.timestamp, record.key, record.value, list(record.headers)))
    consumer.close()
    return [row for row in found if row[0] < stop]
