"""Streams of a real RabbitMQ: logins, TLS, super streams, what retention and a new stream leave, servers that die."""

import asyncio
import threading
import time

import pytest
from rstream.client import Client
from rstream.exceptions import ServerError
from support.rabbitmq_server import IN_A_JOB, PASSWORD, USER, VHOST
from support.rabbitmq_streams import SubBatch, amqp, publish
from support.sources import blocks_of, records_of

from millrace.schemas.errors import DeniedTopicsError, JobError, LostOffsetsError, SourceError
from millrace.schemas.model.ledger import OffsetRange, TopicPartition
from millrace.transforms.retry import Backoff, Retry, retried
from millrace.transforms.sources.rabbitmq.management import listed
from millrace.transforms.sources.source import ReadUpTo


def numbered(first, stop):
    return [amqp(b"k%d" % i, b"v%d" % i) for i in range(first, stop)]


def values(source, blocks):
    return [record[3] for block in blocks for record in records_of(source, block)]


def test_tls_shows_the_server_and_a_wrong_one_is_refused(rabbitmq, stream, source_of, tmp_path):
    publish(rabbitmq, stream, numbered(0, 3))
    address = f"127.0.0.1:{rabbitmq.ports['tls']}"
    source = source_of(servers=[address], tls={"cafile": str(rabbitmq.authority.file)})
    partition = TopicPartition(stream, 0)
    assert source.connect().offsets([partition]) == {partition: (0, 3)}
    with pytest.raises(SourceError, match=r"cannot be reached by TLS: CERTIFICATE_VERIFY_FAILED"):
        source_of(servers=[address], tls={}).connect()
    with pytest.raises(SourceError, match="cannot be reached by TLS"):
        source_of(tls={"cafile": str(rabbitmq.authority.file)}).connect()
    with pytest.raises(JobError, match="certificates cannot be read"):
        source_of(servers=[address], tls={"cafile": str(tmp_path / "none")}).connect()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"username": "nobody"}, "source.username or source.password are wrong"),
        ({"virtual_host": "nowhere"}, "this user may not use source.virtual_host"),
    ],
)
def test_a_wrong_login_is_a_mistake_of_the_job_file(source_of, options, said):
    with pytest.raises(JobError, match=said):
        source_of(**options).connect()


def test_the_next_server_of_the_list_is_asked_where_one_is_away(rabbitmq, source_of):
    source_of(servers=["127.0.0.1:1", rabbitmq.address]).connect()
    with pytest.raises(SourceError, match=r"127\.0\.0\.1:1 cannot be reached.*localhost:1 cannot be reached"):
        source_of(servers=["127.0.0.1:1", "localhost:1"]).connect()


def test_a_stream_that_the_user_may_not_read_is_denied_alone(rabbitmq, source_of, stream):
    rabbitmq.create_stream("denied")
    connection = source_of().connect()
    assert connection.topics([stream, "denied"]) == {stream: [0], "denied": [0]}
    with pytest.raises(DeniedTopicsError) as denied:
        connection.offsets([TopicPartition(stream, 0), TopicPartition("denied", 0)])
    assert denied.value.topics == ("denied",)
    with pytest.raises(DeniedTopicsError):
        source_of().reader(TopicPartition("denied", 0), 0, 1).read(0.1)


def test_a_pattern_needs_the_management_plugin_and_says_so(rabbitmq, source_of):
    with pytest.raises(JobError, match=r"add source\.management: http://HOST"):
        source_of().connect().topics((), ".*")
    with pytest.raises(SourceError, match=r"source\.management: 401"):
        listed(source_of(username="nobody").options, rabbitmq.management)


def test_the_streams_of_a_super_stream_are_its_partitions(rabbitmq, source_of):
    rabbitmq.create_super_stream("many", 3)
    for number in range(3):
        publish(rabbitmq, f"many-{number}", numbered(number, 2 * number + 1))
    source = source_of(management=rabbitmq.management)
    connection = source.connect()
    parts = [TopicPartition("many", number) for number in range(3)]
    assert connection.topics((), "many.*") == {"many": [0, 1, 2]}
    assert connection.offsets(parts) == {part: (0, part.partition + 1) for part in parts}
    for part in parts:
        blocks = blocks_of(source.reader(part, 0, part.partition + 1))
        assert values(source, blocks) == [b"v%d" % i for i in range(part.partition, 2 * part.partition + 1)]
    ranges = [OffsetRange("many", number, 0, number + 1) for number in range(3)]
    assert [m.value for m in source.message_log().read(ranges)] == [b"v0", b"v1", b"v2", b"v2", b"v3", b"v4"]


def test_an_empty_stream_begins_and_ends_at_zero(source_of, stream):
    partition = TopicPartition(stream, 0)
    connection = source_of().connect()
    assert connection.offsets([partition]) == {partition: (0, 0)}
    assert connection.offsets_at(0, [partition]) == {partition: 0}
    assert source_of().message_log().held({partition: 0})[partition].stop == 0
    reader = source_of().reader(partition, 0, None)
    assert reader.read(0.05) is None and reader.at_end
    reader.close()


def test_what_retention_took_is_an_error_and_what_it_left_is_read(rabbitmq, source_of):
    rabbitmq.create_stream("short", x_max_length_bytes=200_000, x_stream_max_segment_size_bytes=50_000)
    for _ in range(10):
        publish(rabbitmq, "short", [amqp(b"k", b"v" * 1000)] * 50)
    partition = TopicPartition("short", 0)
    source = source_of()
    low, high = source.connect().offsets([partition])[partition]
    assert 0 < low < high == 500
    with pytest.raises(LostOffsetsError, match=rf"offset {low - 1} is gone, the source holds {low} to 500: retention"):
        source.reader(partition, low - 1, None).read(1.0)
    assert len(values(source, blocks_of(source.reader(partition, low, high)))) == high - low
    held = source.message_log().held({partition: high})[partition]
    assert (held.first, held.stop) == (low, high)


def test_a_stream_that_was_made_again_is_another_one(rabbitmq, stream, source_of):
    publish(rabbitmq, stream, numbered(0, 20))
    partition, source = TopicPartition(stream, 0), source_of()
    (*_, block) = blocks_of(source.reader(partition, 0, 20))
    rabbitmq.delete_stream(stream)
    rabbitmq.create_stream(stream)
    publish(rabbitmq, stream, numbered(100, 150))
    connection, read = source.connect(), ReadUpTo(partition, block.tail)
    assert connection.cut_short([read]) == {read: 0}
    with pytest.raises(LostOffsetsError, match="cut short after it was read"):
        source.reader(partition, 20, None, tail=block.tail).read(1.0)


def test_a_reader_lives_on_while_the_server_is_killed(rabbitmq, stream, source_of):
    """Chunks before and after, each once; what waits for the server goes on by itself."""
    publish(rabbitmq, stream, numbered(0, 50))
    partition, source = TopicPartition(stream, 0), source_of()
    reader = source.reader(partition, 0, None)
    blocks = [reader.read(5.0)]
    rabbitmq.kill()
    reviving = threading.Thread(target=rabbitmq.start)
    reviving.start()
    assert reader.read(1.0) is None
    reviving.join()
    retried(
        "publish", lambda: publish(rabbitmq, stream, numbered(50, 120)), Retry(Backoff(0.5, 1.0, 60.0), (ServerError,))
    )
    deadline = time.monotonic() + 60
    while reader.next < 120 and time.monotonic() < deadline:
        block = reader.read(1.0)
        blocks += [block] if block is not None else []
    reader.close()
    assert values(source, blocks) == [b"v%d" % i for i in range(120)]


def test_a_server_that_stays_away_is_an_error_after_the_patience(source_of):
    reader = source_of(servers=["127.0.0.1:1"]).reader(TopicPartition("t", 0), 0, None, patience=0.5)
    with pytest.raises(SourceError, match=r"127\.0\.0\.1:1 cannot be reached"):
        reader.read(0.1)


def test_offsets_of_consumers_that_rabbitmq_notes_in_the_log_are_no_loss(rabbitmq, stream, source_of):
    """A consumer that stores its offset writes into the log: offsets without a message."""

    async def note(number):
        client = Client("127.0.0.1", rabbitmq.ports["stream"], frame_max=1 << 20, heartbeat=0)
        await client.start()
        await client.authenticate(VHOST, username=USER, password=PASSWORD)
        await client.store_offset(stream, f"consumer-{number}", number)
        await asyncio.sleep(0.3)
        await client.close()

    for number in range(3):
        publish(rabbitmq, stream, numbered(10 * number, 10 * number + 10), SubBatch(0))
        asyncio.run(note(number))
    publish(rabbitmq, stream, numbered(30, 31))
    partition, source = TopicPartition(stream, 0), source_of()
    end = source.connect().offsets([partition])[partition][1]
    blocks = blocks_of(source.reader(partition, 0, end))
    assert values(source, blocks) == [b"v%d" % i for i in range(31)]
    assert blocks[-1].stop == end >= 31
    assert [m.value for m in source.message_log().read([OffsetRange(stream, 0, 0, end)])] == values(source, blocks)


def test_the_password_is_a_reference(source_of):
    assert IN_A_JOB in repr(source_of().options.password) and "canary" not in repr(source_of())
