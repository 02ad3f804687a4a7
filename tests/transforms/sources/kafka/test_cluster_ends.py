"""The end of a partition is what a reader will reach, however late the broker's answers come."""

import time

import pytest
from support.jobs import send

from millrace.schemas.errors import SourceError
from millrace.schemas.model.ledger import TopicPartition
from millrace.transforms.sources.kafka import cluster
from millrace.transforms.sources.kafka.cluster import open_broker
from millrace.transforms.sources.kafka.settings import KafkaSettings


@pytest.fixture
def filled(embedded_broker, topic_name):
    """A topic of two partitions, each filled by one batch of eleven records."""
    topic = topic_name("ends")
    embedded_broker.create_topic(topic, 2)
    send(embedded_broker.bootstrap_servers, topic, [(i % 2, b"k", b"v") for i in range(22)])
    return KafkaSettings(embedded_broker.bootstrap_servers), [TopicPartition(topic, number) for number in (0, 1)]


def test_an_answer_that_comes_late_is_waited_for(filled, monkeypatch):
    """A machine under load: for a while nothing comes. A run would have ended inside of the last batch, with lag 0."""
    settings, partitions = filled
    with open_broker(settings) as broker:
        for _ in range(3):
            poll, quiet = broker._consumer.poll, time.monotonic() + 0.4
            late = lambda *args, poll=poll, quiet=quiet: poll(*args) if time.monotonic() > quiet else {}  # noqa: E731
            monkeypatch.setattr(broker._consumer, "poll", late)
            assert broker.offsets(partitions) == dict.fromkeys(partitions, (0, 11))
            monkeypatch.setattr(broker._consumer, "poll", poll)


def test_a_broker_that_never_answers_is_no_end(filled, monkeypatch):
    settings, partitions = filled
    with open_broker(settings) as broker:
        monkeypatch.setattr(broker._consumer, "poll", lambda *args: {})
        monkeypatch.setattr(cluster, "_TIMEOUT_MS", 1_000)
        with pytest.raises(SourceError, match="no records from the broker"):
            broker.offsets(partitions)


def test_ends_are_asked_for_again_and_again_in_no_time(filled):
    settings, partitions = filled
    with open_broker(settings) as broker:
        broker.offsets(partitions)
        began = time.monotonic()
        for _ in range(10):
            assert broker.offsets(partitions) == dict.fromkeys(partitions, (0, 11))
        assert time.monotonic() - began < 10
