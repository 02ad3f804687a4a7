"""The whole proof over a real broker and a real target: right, tampered with, cut short, and recreated."""

import re
from decimal import Decimal

import duckdb
import pyarrow as pa
import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic
from support import held_log, recorded_stream
from support.debezium_stream import GONE, Stream
from support.held_log import HeldLog

from millrace.schemas.errors import JobError, LostOffsetsError, SourceError
from millrace.schemas.model.change import CHANGE_FIELDS, OP, POSITION, SOURCE, UPSERT
from millrace.schemas.model.ledger import Account, Commit, TopicPartition
from millrace.schemas.model.table import Table
from millrace.transforms.proof.rules import Rules
from millrace.transforms.proof.verify import Proof
from millrace.transforms.proof.verify import verify as verify_rows
from millrace.transforms.sinks import open_sink
from millrace.transforms.sources.kafka.message_log import KafkaMessageLog
from millrace.transforms.sources.kafka.settings import KafkaSettings

COLUMNS = pa.schema([("id", pa.int64()), ("text", pa.string())])


def publish(broker, topic, messages, partitions=1):
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
    admin.create_topics([NewTopic(topic, partitions, 1)])
    admin.close()
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap_servers, acks="all")
    for one in messages:
        producer.send(topic, one.value, one.key, headers=list(one.headers), partition=one.partition)
    producer.flush()
    producer.close()
    return KafkaSettings(broker.bootstrap_servers)


def verify(kafka, sink, proof):
    """The proof of a table as it is in the target now."""
    return verify_rows(KafkaMessageLog(kafka), lambda columns: scan(sink, proof.table, columns), proof)


def scan(sink, table, columns):
    return sink.scan(table, columns) if table in sink.tables() else iter(())


def load(sink, name, columns, rows):
    """Put (position, row) pairs into a table, as a commit does."""
    batch = pa.RecordBatch.from_pylist(
        [
            {**row, OP: UPSERT, SOURCE: 0, POSITION: bytes(8) + b"".join(part.to_bytes(8, "big") for part in position)}
            for position, row in rows
        ],
        schema=pa.schema([*columns, *CHANGE_FIELDS]),
    )
    table = Table(name, (columns.names[0],), columns)
    account = Account("any", 0, 0, len(rows), read=len(rows))
    sink.commit(table, [sink.stage(table, batch)], Commit("job", (account,)))


@pytest.fixture
def sink(tmp_path):
    opened = open_sink("duckdb", {"path": str(tmp_path / "w.duckdb")})
    yield opened
    opened.close()


def test_a_right_table_then_one_byte_of_it(embedded_broker, topic_name, contracts, sink, tmp_path):
    topic = topic_name("proof")
    stream = Stream(0)
    for key in range(300):
        stream.put(key, 10 + key, f"text {key}")
    stream.delete(5, 1_000).put(6, 1_001, "last").raw(b"poison", b"poison")
    kafka = publish(embedded_broker, topic, [*stream.messages, *Stream(1).put(900, 5, "other partition").messages], 2)
    rows = [((10 + key, 10 + key, key), {"id": key, "text": f"text {key}"}) for key in range(300) if key not in (5, 6)]
    rows += [((1_001, 1_001, 302), {"id": 6, "text": "last"}), ((5, 5, 0), {"id": 900, "text": "other partition"})]
    load(sink, "t", COLUMNS, rows)
    stops = {TopicPartition(topic, 0): len(stream.messages), TopicPartition(topic, 1): 1}
    proof = Proof("t", stops, Rules("debezium", contracts))
    report = verify(kafka, sink, proof)
    assert report.ok
    assert (report.read, report.undecodable, report.expected) == (305, 1, 300)
    assert report.offsets == {f"{topic}[0]": (0, 304), f"{topic}[1]": (0, 1)}
    sink.close()
    with duckdb.connect(str(tmp_path / "w.duckdb")) as con:
        con.execute("UPDATE t SET text = 'text 43' WHERE id = 42")
    report = verify(kafka, sink, proof)
    assert [str(example) for example in report.examples] == ["DIFFERS id=42 text: expected 'text 42', found 'text 43'"]


def test_only_messages_below_the_ledgers_offsets_count(embedded_broker, topic_name, contracts, sink):
    topic = topic_name("proof")
    kafka = publish(embedded_broker, topic, Stream().put(1, 10, "a").put(1, 20, "b").put(2, 30, "c").messages)
    load(sink, "t", COLUMNS, [((10, 10, 0), {"id": 1, "text": "a"})])
    rules = Rules("debezium", contracts)
    assert verify(kafka, sink, Proof("t", {TopicPartition(topic, 0): 1}, rules)).ok
    late = verify(kafka, sink, Proof("t", {TopicPartition(topic, 0): 3}, rules))
    assert {example.verdict for example in late.examples} == {"STALE", "MISSING"}
    unborn = verify(kafka, sink, Proof("no_such_table", {TopicPartition(topic, 0): 0}, rules))
    assert not unborn.ok
    assert re.fullmatch("none of [13] messages is in the target yet", unborn.reason)
    missing = verify(kafka, sink, Proof("no_such_table", {TopicPartition(topic, 0): 3}, rules))
    assert missing.counts["MISSING"] == 2


def test_a_topic_that_ends_before_the_ledger_was_recreated(embedded_broker, topic_name, contracts, sink):
    topic = topic_name("proof")
    kafka = publish(embedded_broker, topic, Stream().put(1, 10, "a").messages)
    proof = Proof("t", {TopicPartition(topic, 0): 7}, Rules("debezium", contracts))
    with pytest.raises(LostOffsetsError, match=rf"{topic}\[0\] ends at offset 1, and the target holds it up to 7"):
        verify(kafka, sink, proof)


def test_a_broker_that_is_not_there_and_a_secret_that_is_not_set(contracts, sink):
    proof = Proof("t", {TopicPartition("t", 0): 1}, Rules("debezium", contracts))
    with pytest.raises(SourceError, match=r"127\.0\.0\.1:1: cannot be reached"):
        verify(KafkaSettings("127.0.0.1:1", {"bootstrap_timeout_ms": 500}), sink, proof)
    with pytest.raises(JobError, match="NOT_SET_HERE"):
        verify(KafkaSettings("127.0.0.1:1", {"sasl_plain_password": "${env:NOT_SET_HERE}"}), sink, proof)


def test_the_recorded_stream_through_a_broker(embedded_broker, topic_name, sink, tmp_path):
    topic = topic_name("carts")
    messages = [one for one in recorded_stream.messages() if one.topic == "store.public.carts"]
    kafka = publish(embedded_broker, topic, messages, 3)
    _, final = recorded_stream.final("carts")
    columns = pa.schema(
        [("cart_id", pa.string()), ("owner", pa.string()), ("items", pa.int32()), ("total", pa.decimal128(8, 2))]
    )
    rows = []
    for row in final.values():
        total = row["total"] and Decimal(f"{row['total'].unscaled}E{-row['total'].scale}")
        rows.append(((1, 1, 1), {**row, "total": total}))
    load(sink, "carts", columns, rows)
    stops = {TopicPartition(topic, part): sum(one.partition == part for one in messages) for part in range(3)}
    folder = tmp_path / "schemas"
    folder.mkdir()
    rules = Rules("debezium", recorded_stream.contracts(folder), truncate=True)
    report = verify(kafka, sink, Proof("carts", stops, rules))
    assert (report.ok, report.expected, report.read) == (True, 57, 225)
    kept = verify(kafka, sink, Proof("carts", stops, Rules("debezium", rules.schemas)))
    assert kept.counts["MISSING"] > 0


def proved(contracts, stream, rows, first=0, **proof):
    """The proof of these (position, row) pairs by a log that begins at `first`."""
    return held_log.proved(contracts, HeldLog(stream, first=first), rows, **proof)


def test_rows_of_messages_that_are_gone_are_unproven_and_not_extra(contracts):
    stream = Stream().put(1, 10, "a").put(2, 20, "b").put(3, 30, "c")
    rows = [((10 * key, 10 * key, key - 1), {"id": key, "text": "abc"[key - 1]}) for key in (1, 2, 3)]
    report = proved(contracts, stream, rows, first=1)
    assert (report.outcome, report.counts["MATCH"], report.counts["UNPROVEN"], report.cut) == ("EQUAL", 2, 1, True)
    # What stands behind the log's beginning is as extra as ever.
    foreign = [*rows, ((40, 40, 3), {"id": 4, "text": "d"})]
    assert [str(one) for one in proved(contracts, stream, foreign, first=1).examples] == [
        "EXTRA id=4 (no row in the stream has this key)"
    ]
    # A log that the table was begun in the middle of lacks nothing.
    later = proved(contracts, stream, rows[1:], first=1, starts={TopicPartition("t", 0): 1})
    assert (later.outcome, later.counts["UNPROVEN"], later.cut) == ("EQUAL", 0, False)
    extra = proved(contracts, stream, rows, first=1, starts={TopicPartition("t", 0): 1})
    assert (extra.outcome, extra.counts["EXTRA"]) == ("DIFFERENT", 1)


def test_a_value_that_only_a_gone_message_has_is_unproven(contracts):
    stream = Stream().put(1, 10, "large").put(1, 20, GONE).put(2, 30, "c")
    rows = [((20, 20, 1), {"id": 1, "text": "large"}), ((30, 30, 2), {"id": 2, "text": "c"})]
    assert proved(contracts, stream, rows).counts["MATCH"] == 2
    report = proved(contracts, stream, rows, first=1)
    assert (report.outcome, report.counts["MATCH"], report.counts["UNPROVEN"]) == ("EQUAL", 1, 1)


def test_nothing_that_was_proved_is_not_equal(contracts):
    poison = Stream().raw(b"poison", b"poison").raw(b"poison", b"poison")
    report = proved(contracts, poison, [], key=("id",))
    assert (report.outcome, report.reason) == ("UNPROVED", "none of 2 messages can be decoded")
    gone = Stream().put(1, 10, "a").delete(2, 20)
    report = proved(contracts, gone, [((10, 10, 0), {"id": 1, "text": "a"})], first=1)
    assert (report.outcome, report.reason) == (
        "UNPROVED",
        "the topics no longer hold the messages of any of its rows",
    )
    deleted = proved(contracts, Stream().put(1, 10, "a").delete(1, 20), [])
    assert (deleted.outcome, deleted.read) == ("EQUAL", 3)


def test_progress_is_told(contracts):
    told = []
    stream = Stream().put(1, 10, "a")
    stops = {TopicPartition("t", 0): 1}
    verify_rows(HeldLog(stream), lambda names: iter(()), Proof("t", stops, Rules("debezium", contracts)), told.append)
    assert told == [
        "t: 0 of 1 messages read",
        "t: comparing with the rows of the target",
        "t: comparing with the order of the log",
    ]
