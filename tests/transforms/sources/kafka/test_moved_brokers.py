"""The brokers that were known go away, and another of `bootstrap_servers` answers: a roll, or a broker that moves."""

import time
from contextlib import suppress

from kafka import KafkaProducer

from millrace.schemas.errors import SourceError
from millrace.schemas.model.ledger import TopicPartition
from millrace.transforms.sources.kafka import partition_reader
from millrace.transforms.sources.kafka.embedded_broker import EmbeddedBroker
from millrace.transforms.sources.kafka.settings import KafkaSettings
from millrace.transforms.sources.kafka.source import KafkaSource

CLIENT = {"bootstrap_timeout_ms": 500, "request_timeout_ms": 1_500, "reconnect_backoff_max_ms": 100}


def fill(broker, topic, count):
    broker.create_topic(topic, 1)
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap_servers)
    for number in range(count):
        producer.send(topic, b"%d" % number, partition=0)
    producer.close()


def test_a_connection_and_a_reader_go_on_with_another_broker(monkeypatch):
    monkeypatch.setattr(partition_reader, "_PROBE_SECONDS", 0.1)
    monkeypatch.setattr(partition_reader, "_PROBE_TIMEOUT_MS", 500)
    with EmbeddedBroker() as second:
        fill(second, "moved", 10)
        with EmbeddedBroker() as first:
            fill(first, "moved", 5)
            servers = f"{first.bootstrap_servers},{second.bootstrap_servers}"
            source = KafkaSource(KafkaSettings(servers, CLIENT))
            connection = source.connect()
            reader = source.reader(TopicPartition("moved", 0), 0, None)
            known = connection.topics(["moved"])
            while reader.next < 5:
                reader.read(1.0)
        deadline = time.monotonic() + 20
        found = None
        while found is None and time.monotonic() < deadline:
            # The first question may fail, where kafka-python asks the broker that has gone.
            with suppress(SourceError):
                found = connection.topics(["moved"])
        assert found == known
        while reader.next < 10 and time.monotonic() < deadline:
            reader.read(0.5)
        assert reader.next == 10
        reader.close()
        connection.close()
        source.close()
