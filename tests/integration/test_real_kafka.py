"""A whole job on real Kafka: transactions, compaction, codecs, retention, new partitions, servers that are away."""

import json
import threading
import time

import pytest
from kafka import KafkaProducer
from kafka import TopicPartition as KafkaPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewPartitions
from support.jobs import SCHEMAS, event, key, rows, run_once, send, write_job
from support.registry_server import Fault, RegistryServer

from millrace.pipelines.cli.verify import verify_job
from millrace.pipelines.execution import pass_ranges
from millrace.pipelines.execution.progress import Progress
from millrace.pipelines.execution.run_passes import run
from millrace.pipelines.job.load import load_job
from millrace.schemas.errors import LostOffsetsError, SourceError

pytestmark = pytest.mark.java


def produce(servers, topic, numbers, value, **options):
    """Row n % 50 at position n, for each n of `numbers`."""
    producer = KafkaProducer(bootstrap_servers=servers, **options)
    for number in numbers:
        producer.send(
            topic, key=key(number % 50), value=event("u", number % 50, value, number, 10 + number), partition=0
        )
    producer.flush()
    producer.close()


def newest(numbers, value):
    return {number % 50: (number % 50, value, number) for number in numbers}


def proved(file):
    for report in verify_job(load_job(file)):
        assert report.ok, json.dumps(report.to_json(), indent=1)


def ends_in(file, topic, expected):
    assert rows(file.parent, topic) == sorted(expected.values(), key=repr)
    proved(file)


def test_aborted_transactions_leave_no_row(servers, create, tmp_path):
    topic = create()
    producer = KafkaProducer(bootstrap_servers=servers, transactional_id=f"tx-{topic}")
    producer.init_transactions()
    for turn, commits in enumerate([True, False, True, False]):
        producer.begin_transaction()
        for number in range(30):
            value = event("u", number, f"{turn}", turn, 100 * turn + 10 + number)
            producer.send(topic, key=key(number), value=value, partition=0)
        producer.flush()
        produce(servers, topic, range(40, 45), f"{turn}")
        if commits:
            producer.commit_transaction()
        else:
            producer.abort_transaction()
    producer.close()
    file = write_job(tmp_path, servers, [topic])
    summary = run_once(file)
    assert (summary.total("read"), summary.total("lag")) == (80, 0)
    last = {number: (number, "2", 2) for number in range(30)}
    ends_in(file, topic, last | newest(range(40, 45), "3"))
    assert run_once(file).total("read") == 0


def test_a_compacted_topic(servers, admin, create, tmp_path):
    topic = create(cleanup_policy="compact", segment_ms=100, min_cleanable_dirty_ratio=0.001, delete_retention_ms=0)
    file = write_job(tmp_path, servers, [topic])
    sent, deadline = 0, time.monotonic() + 60
    while True:
        produce(servers, topic, range(sent, sent + 200), "v", linger_ms=2)
        sent += 200
        send(servers, topic, [(0, key(7), event("d", 7, at=10 + sent)), (0, key(7), None)])
        summary = run_once(write_job(tmp_path, servers, [topic], target=f"{{type: duckdb, path: {sent}.duckdb}}"))
        if summary.total("read") < sent / 2 or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {"cleanup.policy": "delete"})])
    time.sleep(1)
    file = write_job(tmp_path, servers, [topic])
    summary = run_once(file)
    assert 50 <= summary.total("read") < sent / 2
    expected = newest(range(sent), "v")
    del expected[7]
    ends_in(file, topic, expected)


def test_every_codec_in_one_topic(servers, create, tmp_path):
    topic = create()
    file = write_job(tmp_path, servers, [topic])
    codecs = ("gzip", "snappy", "lz4", "zstd", None)
    for turn, codec in enumerate(codecs):
        produce(servers, topic, range(turn * 1000, turn * 1000 + 1000), str(codec), compression_type=codec)
        if turn == 1:
            run_once(file)
    assert run_once(file).total("read") == 3000
    ends_in(file, topic, newest(range(4000, 5000), "None"))


def test_retention_between_two_runs_stops_the_table_and_nothing_is_skipped(servers, admin, create, tmp_path):
    topic, other = create(), create()
    file = write_job(tmp_path, servers, [topic, other])
    for name in (topic, other):
        produce(servers, name, range(100), "a")
    run_once(file)
    for name in (topic, other):
        produce(servers, name, range(100, 200), "b")
    admin.delete_records({KafkaPartition(topic, 0): 150})
    for _ in range(2):
        summary = run_once(file)
        said = summary.tables[topic].error
        assert f"{topic}[0]: offset 100 is gone, the source holds 150 to 200: retention" in said
        assert "nothing was skipped" in said
        assert (summary.tables[topic].read, summary.tables[other].error) == (0, None)
        assert rows(tmp_path, topic) == sorted(newest(range(100), "a").values(), key=repr)
        assert rows(tmp_path, other) == sorted(newest(range(200), "b").values(), key=repr)


class Between(Progress):
    """Calls `action` once, after the first pass."""

    def __init__(self, action):
        super().__init__(quiet=True)
        self.updates, self.action = 0, action

    def update(self, *values):
        self.updates += 1
        if self.updates == 2:
            self.action()


@pytest.fixture
def small_passes(monkeypatch):
    monkeypatch.setattr(pass_ranges, "FEWEST", 2_000)
    monkeypatch.setattr(pass_ranges, "MOST", 2_000)


def test_retention_during_a_run_ends_it_with_a_sentence(servers, admin, create, small_passes, tmp_path):
    topic = create()
    file = write_job(tmp_path, servers, [topic])
    produce(servers, topic, range(6000), "a", linger_ms=5)
    progress = Between(lambda: admin.delete_records({KafkaPartition(topic, 0): 5_000}))
    with pytest.raises(LostOffsetsError, match=rf"^{topic}\[0\]: offset 2000 is gone, .* resync JOB --table TABLE$"):
        run(load_job(file), once=True, progress=progress)
    assert rows(tmp_path, topic) == sorted(newest(range(2000), "a").values(), key=repr)


def test_partitions_added_between_two_runs_are_read_from_their_beginning(servers, admin, create, tmp_path):
    topic = create(1)
    file = write_job(tmp_path, servers, [topic])
    send(servers, topic, [(0, key(n), event("c", n, "a", n, 10 + n)) for n in range(10)])
    run_once(file)
    admin.create_partitions({topic: NewPartitions(3)})
    moved = [(1 + n % 2, key(n), event("u", n, "b", n, 50 + n)) for n in range(5, 20)]
    late = [(0, key(n), event("u", n, "late", n, 30 + n)) for n in range(5, 20)]
    for _ in range(50):
        if len(admin.describe_topics([topic])[0]["partitions"]) == 3:
            break
        time.sleep(0.1)
    send(servers, topic, [*moved, *late])
    summary = run_once(file)
    assert (summary.total("read"), summary.total("superseded")) == (30, 15)
    ends_in(file, topic, {n: (n, "a" if n < 5 else "b", n) for n in range(20)})


def test_a_broker_that_goes_away_during_a_run(kafka_broker, servers, create, small_passes, tmp_path):
    topic = create()
    file = write_job(tmp_path, servers, [topic])
    produce(servers, topic, range(20_000), "a", linger_ms=5)

    def restart():
        kafka_broker.stop()
        again.start()

    again = threading.Timer(3, kafka_broker.start)
    try:
        run(load_job(file), once=True, progress=Between(restart))
    except SourceError as error:
        assert servers in str(error) or topic in str(error)
    finally:
        again.join()
    run_once(file)
    ends_in(file, topic, newest(range(20_000), "a"))


def test_a_registry_that_is_away_for_a_while(servers, create, tmp_path):
    topic = create()
    with RegistryServer() as registry:
        for number, schema in SCHEMAS.items():
            registry.add(number, schema)
        file = write_job(tmp_path, servers, [topic])
        file.write_text(file.read_text().replace("schemas: ./contracts", f"registry: {registry.url}"))
        produce(servers, topic, range(100), "a")
        registry.faults += [Fault(status=503), Fault(reset=True), Fault(cut=True), Fault(status=500)]
        assert run_once(file).total("applied") == 50
        assert not registry.faults
        ends_in(file, topic, newest(range(100), "a"))


def test_a_registry_that_stays_away_stops_the_table_and_the_next_run_completes(servers, create, tmp_path):
    topic = create()
    with RegistryServer() as registry:
        for number, schema in SCHEMAS.items():
            registry.add(number, schema)
        file = write_job(tmp_path, servers, [topic])
        settings = f"registry: {{url: '{registry.url}', give_up_after: 1s}}"
        file.write_text(file.read_text().replace("schemas: ./contracts", settings))
        produce(servers, topic, range(100), "a")
        registry.faults += [Fault(status=503)] * 50
        table = run_once(file).tables[topic]
        assert "answered 503; gave up" in table.error
        assert (table.read, table.dead, table.applied) == (0, 0, 0)
        registry.faults.clear()
        assert run_once(file).total("read") == 100
        ends_in(file, topic, newest(range(100), "a"))
