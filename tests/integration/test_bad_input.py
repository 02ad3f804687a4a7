"""Bad input through a whole run: every good row is applied, every bad one is a dead letter, memory stays bounded."""

import struct
import time
import zlib
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import apache_beam as beam
import cramjam
import lz4.frame
import pytest
import zstandard
from apache_beam.io.unbounded_source import UnboundedReader, UnboundedSource
from apache_beam.utils.timestamp import MAX_TIMESTAMP, Timestamp
from support.decoders import avro_format
from support.jobs import KEY, SOURCE, contracts, key, rows, run_once, send, write_job
from support.record_batches import batch, sealed, with_body

from millrace.pipelines.cli.verify import verify_job
from millrace.pipelines.execution.graph import JobGraph, Windows, build
from millrace.pipelines.job.load import load_job
from millrace.schemas.encodings.avro.schema_text import AVRO
from millrace.schemas.encodings.schema_store import FolderSchemaStore
from millrace.schemas.model.block import Block
from millrace.schemas.model.ledger import TopicPartition
from millrace.schemas.model.route import Route
from millrace.transforms import dead_letters
from millrace.transforms.coders import BlockCoder
from millrace.transforms.dead_letters import DeadLetterFiles, letters_at
from millrace.transforms.sinks.target import Target
from millrace.transforms.sources.bounded import BoundedRead, OffsetMark
from millrace.transforms.sources.kafka.record_batches import MAX_BATCH_BYTES
from millrace.transforms.steps.commit import CommitSettings, Outcome
from millrace.transforms.steps.outcome_queue import OutcomeQueue, collect

FORMATS = ("debezium", "upsert")
NODE = {"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]}
COLUMNS = {
    10: ("name", ["null", "string"]),
    11: ("tree", ["null", NODE]),
    12: ("nothing", ["null", {"type": "array", "items": "null"}]),
}
MEGABYTE = 1 << 20


def row_schema(*columns):
    fields = [{"name": name, "type": kind} for name, kind in (("id", "long"), *columns)]
    return {"type": "record", "name": "Value", "fields": fields}


def schema(format, *columns):
    if format == "upsert":
        return row_schema(*columns)
    parts = [("before", ["null", row_schema(*columns)]), ("after", ["null", "Value"]), ("source", SOURCE)]
    fields = [{"name": name, "type": kind} for name, kind in (*parts, ("op", "string"))]
    return {"type": "record", "name": "Envelope", "fields": fields}


def zigzag(number):
    number, out = (number << 1) ^ (number >> 63), bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def message(format, schema_id, row):
    """A value in Confluent wire format around the row's bytes."""
    head = b"\0" + schema_id.to_bytes(4, "big")
    return head + (row if format == "upsert" else b"\x00\x02" + row + b"\x00\x00" + b"\x02u")


def bad_values(format):
    """(value, what its dead letter says, step) by name."""

    def one(row, schema_id=10):
        return message(format, schema_id, row)

    good = one(zigzag(9) + b"\x02\x02a")
    return {
        "empty": (b"", "the value is empty", "frame"),
        "one byte": (b"\0", "ends inside its header, behind byte 1", "frame"),
        "wrong magic": (b"\x07" + good[1:], "the first byte is 0x07", "frame"),
        "unknown id": (b"\0\0\0\0\x63" + good[5:], "99", "schema"),
        "header only": (good[:5], "value: ", "decode"),
        "truncated": (good[:-1], "value: ", "decode"),
        "trailing bytes": (good + b"\0", "value: ", "decode"),
        "negative length": (one(zigzag(9) + b"\x02" + zigzag(-5)), "value: ", "decode"),
        "huge length": (one(zigzag(9) + b"\x02" + zigzag(1 << 60)), "value: ", "decode"),
        "12-byte varint": (one(b"\xff" * 11 + b"\x01" + b"\x00"), "value: ", "decode"),
        "no such branch": (one(zigzag(9) + b"\x08"), "value: ", "decode"),
        "invalid UTF-8": (one(zigzag(9) + b"\x02" + zigzag(2) + b"\xc3\x28"), "value: ", "decode"),
        "depth of 5,000": (one(zigzag(9) + b"\x02" + b"\x02" * 5_000 + b"\x00", 11), "value: ", "decode"),
        "3 million nulls": (one(zigzag(9) + b"\x02" + zigzag(3_000_000) + b"\x00", 12), "value: ", "decode"),
        "negative count": (one(zigzag(9) + b"\x02" + zigzag(-(1 << 62)) + b"\x00\x00", 12), "value: ", "decode"),
    }


@contextmanager
def within(megabytes):
    """The process's peak of resident memory grows by less than this inside."""
    Path("/proc/self/clear_refs").write_text("5")
    before = _peak()
    yield
    assert _peak() - before < megabytes * 1024


def _peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


@pytest.fixture
def topic(embedded_broker, topic_name):
    name = topic_name("orders")
    embedded_broker.create_topic(name, 2)
    return name


@pytest.mark.parametrize("format", FORMATS)
def test_bad_messages_among_good_ones(format, embedded_broker, topic, tmp_path):
    servers = embedded_broker.bootstrap_servers
    file = write_job(tmp_path, servers, [topic], format=format)
    contracts(tmp_path / "contracts", {1: KEY, **{number: schema(format, part) for number, part in COLUMNS.items()}})
    goods = {
        number: message(format, 10, zigzag(number) + b"\x02\x02" + b"abcd"[number % 4 :][:1]) for number in range(99)
    }
    goods[100] = message(format, 11, zigzag(100) + b"\x02\x02\x02\x00")
    goods[101] = message(format, 12, zigzag(101) + b"\x02\x06\x00")
    bad, sent, places = bad_values(format), [], {}
    for number, (name, good) in enumerate(zip([*bad, *[None] * 99], goods.items(), strict=False)):
        part = number % 2
        sent.append((part, key(good[0]), good[1]))
        if name is not None:
            places[part, sum(one[0] == part for one in sent)] = name
            sent.append((part, key(9), bad[name][0]))
    send(servers, topic, sent)
    with within(500):
        summary = run_once(file)
    table = topic.rpartition(".")[2]
    assert summary.tables[table].error is None
    assert (summary.total("read"), summary.total("dead"), summary.total("applied")) == (len(sent), len(bad), len(goods))
    assert sorted(row[0] for row in rows(tmp_path, table, "id", "out.duckdb")) == sorted(goods)
    letters = {
        (one.letter.partition, one.letter.offset): one.letter
        for one in dead_letters.read(letters_at(tmp_path / "dead_letters"))
    }
    assert letters.keys() == places.keys()
    for place, name in places.items():
        value, reason, step = bad[name]
        letter = letters[place]
        assert (letter.topic, letter.key, letter.value, letter.step) == (topic, key(9), value, step), name
        assert reason in letter.error, (name, letter.error)
        assert 0 < len(letter.error) < 300
    assert all(report.ok for report in verify_job(load_job(file)))


@pytest.mark.parametrize("format", FORMATS)
def test_rows_of_10_000_columns(format, embedded_broker, topic, tmp_path):
    servers = embedded_broker.bootstrap_servers
    file = write_job(tmp_path, servers, [topic], format=format)
    wide = schema(format, *[(f"c{number}", ["null", "long"]) for number in range(9_999)])
    contracts(tmp_path / "contracts", {1: KEY, 10: wide})
    values = [message(format, 10, zigzag(row) + (b"\x02" + zigzag(row)) * 9_999) for row in range(3)]
    send(servers, topic, [(0, key(row), value) for row, value in enumerate([*values, values[0][:-1]])])
    started = time.monotonic()
    with within(1_500):
        summary = run_once(file)
    assert time.monotonic() - started < 60
    table = topic.rpartition(".")[2]
    assert summary.tables[table].error is None
    assert (summary.total("applied"), summary.total("dead")) == (3, 1)
    assert rows(tmp_path, table, "id, c0, c9998") == [(row, row, row) for row in range(3)]


# Record batches that no broker takes from a producer: straight into the pipeline -----------------------------------


HELD = {}


class Blocks(UnboundedSource):
    """The blocks held under a name, once, then the end; Beam pickles a source often, so they stay outside of it."""

    def __init__(self, name):
        self.name = name

    def split(self, desired_num_splits, options=None):
        return [self]

    def create_reader(self, options, checkpoint_mark):
        return BlocksReader(HELD[self.name], checkpoint_mark.next if checkpoint_mark else 0)

    def get_checkpoint_mark_coder(self):
        return BoundedRead(None, []).get_checkpoint_mark_coder()

    def default_output_coder(self):
        return BlockCoder()


class BlocksReader(UnboundedReader):
    def __init__(self, blocks, at):
        self.blocks, self.at = blocks, at - 1

    def start(self):
        return self.advance()

    def advance(self):
        self.at = min(self.at + 1, len(self.blocks))
        return self.at < len(self.blocks)

    def get_current(self):
        return self.blocks[self.at]

    def get_current_timestamp(self):
        return Timestamp(1)

    def get_watermark(self):
        return Timestamp(1) if self.at < len(self.blocks) else MAX_TIMESTAMP

    def get_checkpoint_mark(self):
        return OffsetMark(self.at + 1)


def run_blocks(folder, blocks):
    """The sync pipeline over blocks of topic `t`; the only outcome, and the dead letters by offset."""
    contracts(folder / "contracts", {1: KEY, 10: schema("upsert", COLUMNS[10])})
    routes = {"t": Route(table="t", sources=(TopicPartition("t", 0),))}
    letters = DeadLetterFiles(letters_at(folder / "dead_letters"), "j", datetime.now(UTC))
    target = Target("duckdb", {"path": str(folder / "out.duckdb")})
    commits = CommitSettings(job="j", routes={"t": routes["t"]}, target=target, dead_letters=letters)
    format = avro_format("upsert", FolderSchemaStore(folder / "contracts", AVRO))
    sync = JobGraph(routes=routes, decoders=format, commits=commits, windows=Windows())
    HELD[str(folder)] = blocks
    with beam.Pipeline(runner="apache_beam.runners.portability.fn_api_runner.FnApiRunner") as pipeline:
        _ = build(pipeline, sync, Blocks(str(folder))) | beam.ParDo(OutcomeQueue(str(folder)))
    del HELD[str(folder)]
    (outcome,) = collect(str(folder))
    assert isinstance(outcome, Outcome), outcome
    return outcome, {one.letter.offset: one.letter for one in dead_letters.read(letters_at(folder / "dead_letters"))}


def good_batch(base, codec="none"):
    records = [(1, key(base + i), message("upsert", 10, zigzag(base + i) + b"\x02\x02a"), []) for i in range(3)]
    return batch(base, records, codec)


def bombs():
    """Compressed bodies of more than a batch may hold, by (codec, number of the codec)."""
    size, part = MAX_BATCH_BYTES + 4 * MEGABYTE, bytes(MEGABYTE)
    deflate = zlib.compressobj(9, zlib.DEFLATED, 31)
    yield 1, b"".join(deflate.compress(part) for _ in range(size >> 20)) + deflate.flush()
    small = bytes(cramjam.snappy.compress_raw(part))
    yield 2, b"\x82SNAPPY\x00" + struct.pack(">ii", 1, 1) + (struct.pack(">i", len(small)) + small) * (size >> 20)
    yield 3, lz4.frame.compress(bytes(size), store_size=False)
    yield 4, zstandard.ZstdCompressor().compress(bytes(size))


def test_a_zip_bomb_of_each_codec(tmp_path):
    (tmp_path / "warm").mkdir()
    run_blocks(tmp_path / "warm", [Block("t", 0, 0, 3, good_batch(0)[:-1])])
    bad = {
        3 + 6 * place: with_body(good_batch(3 + 6 * place), body, attributes=codec)
        for place, (codec, body) in enumerate(bombs())
    }
    data = good_batch(0) + b"".join(raw + good_batch(base + 3) for base, raw in bad.items())
    with within(4 * MAX_BATCH_BYTES // MEGABYTE):
        outcome, letters = run_blocks(tmp_path, [Block("t", 0, 0, 27, data)])
    assert {offset: letter.value for offset, letter in letters.items()} == bad
    assert all("when decompressed" in letter.error and letter.step == "split" for letter in letters.values())
    (account,) = outcome.accounts
    assert (account.stop, account.read, account.applied, account.dead) == (27, 19, 15, 4)
    assert [row[0] for row in rows(tmp_path, "t", "id")] == sorted(
        (base + i for base in (0, 6, 12, 18, 24) for i in range(3)), key=lambda one: repr((one,))
    )


def damaged(raw):
    """Batches that cannot be split, by what is said of them."""
    flipped = bytearray(raw)
    flipped[-2] ^= 1
    yield "CRC", bytes(flipped)
    yield "message format 1", raw[:16] + b"\x01" + raw[17:]
    yield "records do not fit", sealed(raw[:57] + struct.pack(">i", 1 << 30) + raw[61:])
    yield "codec", with_body(raw, b"\x00" * 9, attributes=7)


@pytest.mark.parametrize("codec", ["none", "gzip", "zstd"])
def test_corrupt_record_batches(codec, tmp_path):
    bad = {3 + 6 * place: one for place, one in enumerate(damaged(good_batch(3, codec)))}
    bad = {base: (reason, struct.pack(">q", base) + raw[8:]) for base, (reason, raw) in bad.items()}
    parts = [raw + good_batch(base + 3, codec) for base, (_, raw) in bad.items()]
    blocks = [Block("t", 0, 0, 9, good_batch(0, codec) + parts[0]), Block("t", 0, 9, 27, b"".join(parts[1:]))]
    with within(300):
        outcome, letters = run_blocks(tmp_path, blocks)
    assert {offset: letter.value for offset, letter in letters.items()} == {base: raw for base, (_, raw) in bad.items()}
    for base, (reason, _) in bad.items():
        assert reason in letters[base].error
    (account,) = outcome.accounts
    assert (account.stop, account.applied, account.dead) == (27, 15, 4)
    assert len(rows(tmp_path, "t", "id")) == 15


def test_a_batch_whose_length_is_wrong_takes_the_rest_of_its_block_with_it(tmp_path):
    raw = bytearray(good_batch(3))
    raw[8:12] = struct.pack(">i", 1 << 30)
    rest = bytes(raw) + good_batch(6)
    outcome, letters = run_blocks(
        tmp_path, [Block("t", 0, 0, 9, good_batch(0) + rest), Block("t", 0, 9, 12, good_batch(9))]
    )
    assert {offset: letter.value for offset, letter in letters.items()} == {3: rest}
    assert outcome.accounts[0].stop == 12
    assert len(rows(tmp_path, "t", "id")) == 6
