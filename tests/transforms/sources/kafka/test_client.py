"""The hook into kafka-python, without a broker: old message formats, corrupt lengths, the wire logs."""

import logging
import struct

import pytest
from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError
from kafka.protocol.consumer import IsolationLevel
from kafka.record.memory_records import MemoryRecords, MemoryRecordsBuilder
from kafka.structs import TopicPartition
from support.record_batches import batch, rows

from millrace.schemas.errors import JobError, SourceError
from millrace.schemas.model.block import Block
from millrace.transforms.sources.kafka import client
from millrace.transforms.sources.kafka.record_batches import split
from millrace.transforms.sources.kafka.settings import KafkaSettings

TP = TopicPartition("old", 0)


def legacy(magic, codec, base=100, count=5):
    builder = MemoryRecordsBuilder(magic, codec, 1 << 20, offset=base)
    for i in range(count):
        builder.append(1_700_000_000_000 + i if magic else None, b"k%d" % i if i else None, b"v%d" % i)
    builder.close()
    return bytes(builder.buffer())


def parts(raw, kind=client._BatchRecords, first=100):
    return kind(first, TP, MemoryRecords(raw), check_crcs=False, isolation_level=IsolationLevel.READ_COMMITTED)


@pytest.mark.parametrize("magic", [0, 1])
def test_old_messages_are_encoded_again(magic, caplog):
    client._LEGACY_SAID.clear()
    raw = legacy(magic, 0)
    for _ in range(2):
        found = parts(raw)
        runs = found.take()
    truth = parts(raw, Fetcher.PartitionRecords).take()
    records, letters = split(Block("old", 0, 100, 105, b"".join(run.data for run in runs)))
    assert letters == []
    assert rows(records) == [(r.offset, -1 if r.timestamp is None else r.timestamp, r.key, r.value, []) for r in truth]
    assert found.next_fetch_offset == 105
    assert len([one for one in caplog.records if one.name == "millrace"]) == 1


def test_a_batch_cut_off_at_the_end_is_left_for_the_next_fetch():
    one, two = batch(0, [(1, b"k", b"v", [])]), batch(1, [(1, b"k", b"v", [])])
    found = parts(one + two[:-1], first=0)
    (run,) = found.take()
    assert (bytes(run.data), run.offset, found.next_fetch_offset) == (one, 0, 1)


def test_a_length_that_cannot_be_is_an_error():
    bad = bytearray(batch(0, [(1, b"k", b"v", [])]))
    bad[8:12] = struct.pack(">i", 5)
    with pytest.raises(CorruptRecordError, match=r"old\[0\]"):
        parts(bytes(bad), first=0).take()


def test_until_keeps_the_batches_that_begin_before():
    batches = [batch(base, [(1, b"k", b"v", [])] * 3) for base in (0, 3, 6)]
    data = b"".join(batches)
    assert client.until(data, 9) is data
    assert client.until(data, 6) == b"".join(batches[:2])
    assert client.until(data, 4) == b"".join(batches[:2])
    assert client.until(data, 0) == b""


def test_no_broker_is_one_clear_sentence(monkeypatch, caplog):
    monkeypatch.setenv("CANARY", "s3cr3t-canary")
    written = {"bootstrap_timeout_ms": 500, "client_id": "${env:CANARY}"}
    with (
        caplog.at_level(logging.DEBUG),
        pytest.raises(SourceError, match=r"127\.0\.0\.1:1: nothing listens there") as caught,
    ):
        client.open_consumer(KafkaSettings("127.0.0.1:1", written))
    assert "s3cr3t-canary" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_settings_that_cannot_work_do_not_show_the_secret(monkeypatch):
    monkeypatch.setenv("CANARY", "s3cr3t-canary")
    with pytest.raises(JobError) as caught:
        client.open_consumer(KafkaSettings("127.0.0.1:1", {"client_dns_lookup": "${env:CANARY}"}))
    assert "s3cr3t-canary" not in str(caught.value)
    assert "***" in str(caught.value)
