"""The hook against the public `poll` on real Kafka: every shape of log that a consumer may meet."""

import logging
import pickle
import threading
import time

import pytest
from kafka import KafkaProducer
from kafka import TopicPartition as KafkaPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic
from kafka.errors import TopicAlreadyExistsError
from support.kafka_broker import PASSWORD, USER
from support.partition_reading import by_blocks, by_poll
from support.sources import blocks_of

from millrace.schemas.errors import LostOffsetsError, SourceError
from millrace.schemas.model.ledger import TopicPartition
from millrace.transforms.sources.bounded import BoundedRead
from millrace.transforms.sources.kafka.cluster import open_broker
from millrace.transforms.sources.kafka.consumer_pool import POOL
from millrace.transforms.sources.kafka.log_tail import LogTail
from millrace.transforms.sources.kafka.partition_reader import PartitionReader
from millrace.transforms.sources.kafka.settings import KafkaSettings
from millrace.transforms.sources.kafka.source import KafkaSource
from millrace.transforms.sources.source import PartitionSpan, ReadUpTo

pytestmark = pytest.mark.java


def send(servers, topic, count, *, size=50, first=0, **options):
    producer = KafkaProducer(bootstrap_servers=servers, **options)
    for number in range(first, first + count):
        key = None if number % 7 == 0 else b"k%d" % number
        value = None if number % 5 == 1 and key else (b"v%d" % number).ljust(size, b".")
        headers = [("h", b"x"), ("é", b"")] if number % 3 == 0 else None
        producer.send(topic, value, key, headers)
        if number % 400 == 0:
            producer.flush()
    producer.flush()
    producer.close()


def span(servers, topic):
    source = TopicPartition(topic, 0)
    with open_broker(KafkaSettings(servers)) as broker:
        return broker.offsets([source])[source]


def same(servers, topic):
    """Both readings of the whole topic, found equal."""
    first, stop = span(servers, topic)
    found, blocks = by_blocks(servers, topic, first, stop)
    assert found == by_poll(servers, topic, first, stop)
    return found, blocks


@pytest.mark.parametrize("codec", [None, "gzip", "snappy", "lz4", "zstd"])
def test_every_codec(servers, create, codec):
    topic = create()
    send(servers, topic, 1500, compression_type=codec)
    found, _ = same(servers, topic)
    assert len(found) == 1500


@pytest.mark.parametrize("codec", ["snappy", "gzip", "lz4", "zstd"])
def test_batches_that_the_broker_compressed(servers, create, codec):
    topic = create(compression_type=codec)
    send(servers, topic, 500)
    found, _ = same(servers, topic)
    assert len(found) == 500


def test_append_time(servers, create):
    topic = create(message_timestamp_type="LogAppendTime")
    send(servers, topic, 500, compression_type="lz4")
    same(servers, topic)


def test_more_than_one_fetch(servers, create):
    topic = create()
    send(servers, topic, 3000, size=5000, batch_size=100_000, linger_ms=10)
    found, blocks = same(servers, topic)
    assert len(found) == 3000
    assert len(blocks) > 1


def test_a_record_larger_than_a_fetch(servers, create):
    topic = create(max_message_bytes=10_000_000)
    producer = KafkaProducer(bootstrap_servers=servers, max_request_size=10_000_000)
    for size in (10, 6_000_000, 10):
        producer.send(topic, b"x" * size).get(20)
    producer.close()
    found, _ = same(servers, topic)
    assert [len(row[3]) for row in found] == [10, 6_000_000, 10]


def transactions(servers, topic, outcomes, count=40):
    """One transaction an outcome: True commits, False aborts."""
    producer = KafkaProducer(bootstrap_servers=servers, transactional_id=f"tx-{topic}", linger_ms=5)
    producer.init_transactions()
    for turn, commits in enumerate(outcomes):
        producer.begin_transaction()
        for number in range(count):
            producer.send(topic, b"%d:%d:%d" % (turn, number, commits), b"k")
        producer.flush()
        if turn % 2:
            send(servers, topic, 3, first=1000 * turn)
        if commits:
            producer.commit_transaction()
        else:
            producer.abort_transaction()
    producer.close()


@pytest.mark.parametrize(
    "outcomes", [[True], [False], [True, False, True], [False, True, False, False], [True, True, False]]
)
def test_transactions(servers, create, outcomes):
    topic = create()
    transactions(servers, topic, outcomes)
    found, _ = same(servers, topic)
    assert len([row for row in found if row[3] and row[3].endswith(b":1")]) == 40 * sum(outcomes)
    assert not [row for row in found if row[3] and row[3].endswith(b":0")]


def test_a_tail_of_control_records_is_covered(servers, create):
    topic = create()
    transactions(servers, topic, [True, False])
    _, high = span(servers, topic)
    found, blocks = by_blocks(servers, topic, high - 1, high)
    assert found == []
    assert [(block.first, block.stop, block.data) for block in blocks] == [(high - 1, high, b"")]


def test_an_open_transaction_hides_what_follows(servers, create):
    topic = create()
    send(servers, topic, 10)
    producer = KafkaProducer(bootstrap_servers=servers, transactional_id=f"open-{topic}")
    producer.init_transactions()
    producer.begin_transaction()
    producer.send(topic, b"open").get(20)
    send(servers, topic, 10)
    assert span(servers, topic) == (0, 10)
    found, _ = same(servers, topic)
    assert len(found) == 10
    producer.commit_transaction()
    producer.close()
    found, _ = same(servers, topic)
    assert len(found) == 21


def test_holes_of_compaction(servers, admin, create):
    topic = create(cleanup_policy="compact", segment_ms=100, min_cleanable_dirty_ratio=0.001, delete_retention_ms=0)
    producer = KafkaProducer(bootstrap_servers=servers, linger_ms=2)
    deadline = time.monotonic() + 60
    sent = 0
    while True:
        for number in range(200):
            producer.send(topic, b"%d" % sent, b"k%d" % (number % 17))
            sent += 1
        producer.flush()
        if len(by_poll(servers, topic, *span(servers, topic))) < sent / 2 or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    producer.close()
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {"cleanup.policy": "delete"})])
    time.sleep(1)
    found, _ = same(servers, topic)
    assert len(found) < sent / 2
    first, stop = span(servers, topic)
    holes = sorted(set(range(first, stop)) - {row[0] for row in found})
    for hole in (holes[0], holes[len(holes) // 2], holes[-1]):
        assert by_blocks(servers, topic, hole, stop)[0] == by_poll(servers, topic, hole, stop)
        assert by_blocks(servers, topic, first, hole)[0] == [row for row in found if row[0] < hole]


def test_retention_that_passed_the_start(servers, admin, create):
    topic = create()
    send(servers, topic, 1000)
    admin.delete_records({KafkaPartition(topic, 0): 600})
    assert span(servers, topic) == (600, 1000)
    same(servers, topic)
    with pytest.raises(LostOffsetsError, match=rf"{topic}\[0\]: offset 599 is gone.*600 to 1000: retention"):
        by_blocks(servers, topic, 599, 1000)


def test_retention_that_passes_while_reading(servers, admin, create):
    topic = create()
    send(servers, topic, 6000, size=5000, linger_ms=10, batch_size=100_000)
    with pytest.raises(LostOffsetsError, match=rf"{topic}\[0\]: offset \d+ is gone"):
        by_blocks(servers, topic, 0, 6000, each=lambda: admin.delete_records({KafkaPartition(topic, 0): 5990}))


def recreate(admin, topic):
    admin.delete_topics([topic])
    for _ in range(50):
        try:
            admin.create_topics([NewTopic(topic, 1, 1)])
        except TopicAlreadyExistsError:
            time.sleep(0.1)
        else:
            return


def test_a_topic_that_was_recreated(servers, admin, create):
    topic = create()
    send(servers, topic, 100)
    with open_broker(KafkaSettings(servers)) as broker:
        before = broker.topic_ids([topic])
        recreate(admin, topic)
        assert before is not None
        for _ in range(50):
            after = broker.topic_ids([topic])
            if after is not None:
                break
            time.sleep(0.1)
        assert after not in (None, before)
    send(servers, topic, 5)
    with pytest.raises(LostOffsetsError, match=r"offset 50 is gone, the source holds 0 to 5: the topic was recreated"):
        by_blocks(servers, topic, 50, 100)


def test_offsets_by_time(servers, create):
    topic = create()
    producer = KafkaProducer(bootstrap_servers=servers)
    first = round(time.time() * 1000) - 60_000  # older records would be gone by retention
    for number in range(10):
        producer.send(topic, b"v", timestamp_ms=first + 1000 * number)
    producer.close()
    source = TopicPartition(topic, 0)
    with open_broker(KafkaSettings(servers)) as broker:
        assert broker.offsets_at(first, [source]) == {source: 0}
        assert broker.offsets_at(first + 3_500, [source]) == {source: 4}
        assert broker.offsets_at(first + 600_000, [source]) == {source: 10}


def test_a_broker_that_restarts_while_reading(kafka_broker, create, caplog):
    servers = kafka_broker.bootstrap_servers
    topic = create()
    send(servers, topic, 6000, size=5000, linger_ms=10, batch_size=100_000)
    restarts = iter([True])

    def restart():
        if next(restarts, False):
            kafka_broker.stop()
            threading.Timer(6, kafka_broker.start).start()

    with caplog.at_level(logging.WARNING, "millrace"):
        found, _ = by_blocks(servers, topic, 0, 6000, patience=90, each=restart)
    assert [row[0] for row in found] == list(range(6000))
    assert any("trying again" in one.message and one.name == "millrace" for one in caplog.records)


def test_a_broker_that_stays_away(kafka_broker, create):
    servers = kafka_broker.bootstrap_servers
    topic = create()
    send(servers, topic, 10)
    reader = PartitionReader(KafkaSettings(servers), TopicPartition(topic, 0), 0, 20, patience=3)
    assert reader.read(5) is not None
    kafka_broker.stop()
    try:
        with pytest.raises(SourceError, match=r"nothing listens there; .*whether the broker runs"):
            for _ in range(60):
                reader.read(1)
    finally:
        kafka_broker.start()
        reader.close()
        POOL.close()


def sasl(kafka_broker):
    client = {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN", "bootstrap_timeout_ms": 4000}
    client |= {"sasl_plain_username": USER, "sasl_plain_password": "${env:KAFKA_PASSWORD}"}
    return KafkaSettings(kafka_broker.sasl_servers, client)


def test_credentials_let_us_in_and_appear_nowhere(kafka_broker, create, monkeypatch, caplog):
    monkeypatch.setenv("KAFKA_PASSWORD", PASSWORD)
    topic = create()
    send(kafka_broker.bootstrap_servers, topic, 10)
    settings = sasl(kafka_broker)
    source = BoundedRead(KafkaSource(settings), [PartitionSpan(topic, 0, 0, 10)])
    with caplog.at_level(logging.DEBUG):
        with open_broker(settings) as broker:
            assert broker.topics([topic]) == {topic: [0]}
            assert broker.topic_ids([topic])
        reader = source.create_reader(None, None)
        assert reader.start()
        block = reader.get_current()
        reader.close()
        POOL.close()
    assert (block.first, block.stop) == (0, 10)
    assert PASSWORD not in caplog.text
    assert PASSWORD not in repr(settings) + repr(source) + repr(vars(source))
    assert PASSWORD.encode() not in pickle.dumps(source) + pickle.dumps(settings)


def test_a_wrong_password_is_told_but_not_shown(kafka_broker, monkeypatch, caplog):
    monkeypatch.setenv("KAFKA_PASSWORD", "wr0ng-canary")
    with caplog.at_level(logging.DEBUG), pytest.raises(SourceError, match="user and password") as caught:
        open_broker(sasl(kafka_broker))
    assert "wr0ng-canary" not in caplog.text + str(caught.value)


@pytest.mark.parametrize("changed", [{"epoch": 99}, {"at": 50}], ids=["an epoch that is gone", "an epoch that ended"])
def test_a_log_that_lost_its_tail_is_told_by_the_epochs_of_its_leaders(kafka_broker, create, changed):
    source, partition = KafkaSource(KafkaSettings(kafka_broker.bootstrap_servers)), TopicPartition(create(), 0)
    producer = KafkaProducer(bootstrap_servers=kafka_broker.bootstrap_servers)
    for number in range(10):
        producer.send(partition.topic, b"%d" % number, partition=0)
    producer.close()
    (*_, block) = blocks_of(source.reader(partition, 0, 10))
    right = LogTail.of_text(block.tail)
    wrong = right._replace(**changed)
    connection = source.connect()
    assert [*connection.cut_short([ReadUpTo(partition, tail.text) for tail in (right, wrong)])] == [
        ReadUpTo(partition, wrong.text)
    ]
    connection.close()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"sasl_plain_password": "${env:WRONG}"}, "the login by PLAIN is refused"),
        (
            {"sasl_mechanism": "SCRAM-SHA-256"},
            "sasl_mechanism: SCRAM-SHA-256; it offers PLAIN",
        ),
        ({"security_protocol": "PLAINTEXT", "sasl_mechanism": None}, "the listener asks for a login"),
        ({"security_protocol": "SASL_SSL"}, "the listener does not speak TLS"),
    ],
    ids=["wrong password", "wrong mechanism", "no login", "TLS"],
)
def test_a_login_that_fails_says_why(kafka_broker, monkeypatch, changed, said):
    monkeypatch.setenv("KAFKA_PASSWORD", PASSWORD)
    monkeypatch.setenv("WRONG", "another-canary")
    right = sasl(kafka_broker)
    settings = KafkaSettings(right.bootstrap_servers, {**right.client, "bootstrap_timeout_ms": 1_000, **changed})
    with pytest.raises(SourceError, match=said) as caught:
        open_broker(settings)
    assert "canary" not in str(caught.value)


def test_a_listener_without_a_login_says_so(kafka_broker, monkeypatch):
    monkeypatch.setenv("KAFKA_PASSWORD", PASSWORD)
    client = {**sasl(kafka_broker).client, "bootstrap_timeout_ms": 1_000}
    with pytest.raises(SourceError, match="the listener takes no login"):
        open_broker(KafkaSettings(kafka_broker.bootstrap_servers, client))
