"""What every source of messages promises; `test_typed_sources` has those whose log has types.

It runs over the registry: a source that is not in it does not exist.
"""

import pickle
import time
from itertools import pairwise

import pytest
from support.sources import SOURCE_PLACES, blocks_of, records_of

from millrace.schemas.errors import LostOffsetsError, MillraceError, SourceError
from millrace.schemas.model.ledger import OffsetRange, TopicPartition
from millrace.transforms.sources import SOURCES
from millrace.transforms.sources.bounded import BoundedRead
from millrace.transforms.sources.source import PartitionSpan, ReadUpTo, StartOffsets
from millrace.transforms.sources.stream import StreamRead, StreamSettings

COUNT = 300
SENT = [(b"%d" % (i % 7), b"value %d" % i, 1_000 + 10 * i) for i in range(COUNT)]


@pytest.fixture(scope="module", params=sorted(SOURCE_PLACES))
def place(request):
    with SOURCE_PLACES[request.param]() as found:
        found.kind = request.param
        yield found


@pytest.fixture(scope="module")
def partition(place):
    """The only partition of a topic that holds `SENT`."""
    place.create("filled", 1)
    before = time.time_ns() // 1_000_000
    place.send("filled", [(0, *sent) for sent in SENT])
    after = time.time_ns() // 1_000_000
    place.times = [sent[2] for sent in SENT]
    if not place.keeps_times:
        held = place.source.message_log().read([OffsetRange("filled", 0, 0, COUNT)])
        place.times = [message.timestamp for message in held]
        assert before <= place.times[0] and sorted(place.times) == place.times and place.times[-1] <= after
    return TopicPartition("filled", 0)


def expected(place, first, stop):
    return [(i, place.times[i], SENT[i][0], SENT[i][1]) for i in range(first, stop)]


def read(place, partition, first, stop):
    """The records, from blocks that leave no hole."""
    blocks = blocks_of(place.source.reader(partition, first, stop))
    assert [block.first for block in blocks[:1]] == [first] and blocks[-1].stop == stop
    assert all(one.stop == other.first for one, other in pairwise(blocks))
    return [record for block in blocks for record in records_of(place.source, block)]


def test_every_source_of_the_registry_is_tested():
    assert set(SOURCE_PLACES) == {name for name in SOURCES if not SOURCES[name].typed}


def test_it_travels_to_workers_and_compares_by_its_options(place):
    again = pickle.loads(pickle.dumps(place.source))
    assert again == place.source and hash(again) == hash(place.source)
    assert again.where == place.source.where


def test_it_names_topics_partitions_and_their_bounds(place, partition):
    connection = place.source.connect()
    assert connection.topics(["filled"]) == {"filled": [0]}
    assert connection.topics((), "fill.*")["filled"] == [0]
    assert connection.offsets([partition]) == {partition: (0, COUNT)}
    assert 0 <= connection.offsets_at(place.times[100], [partition])[partition] <= 100
    if place.knows_times:
        assert connection.offsets_at(place.times[-1] + 1, [partition]) == {partition: COUNT}
    with pytest.raises(SourceError, match=r"no topic 'fillet'.*did you mean 'filled'"):
        connection.topics(["fillet"])
    connection.close()
    connection.close()


@pytest.mark.parametrize("first", [0, 1, 17, COUNT - 1])
def test_it_reads_from_an_offset(place, partition, first):
    assert read(place, partition, first, COUNT) == expected(place, first, COUNT)


@pytest.mark.parametrize("stop", [1, 18, COUNT - 1])
def test_nothing_at_or_behind_the_stop_is_read(place, partition, stop):
    assert read(place, partition, 0, stop) == expected(place, 0, stop)


def test_a_reader_goes_on_where_another_stopped(place, partition):
    reader = place.source.reader(partition, 5, COUNT)
    block = None
    while block is None:
        block = reader.read(1.0)
    mark = reader.next
    reader.close()
    assert mark == block.stop
    rest = read(place, partition, mark, COUNT) if mark < COUNT else []
    assert [*records_of(place.source, block), *rest] == expected(place, 5, COUNT)


def test_pieces_of_a_block_hold_its_records_once(place, partition):
    for block in blocks_of(place.source.reader(partition, 3, COUNT)):
        starts = [block.first, *range(block.first + 1, block.stop, 37)]
        pieces = place.source.cut(block, starts)
        assert [piece.first for piece in pieces] == starts
        assert all(one.stop == other.first for one, other in pairwise(pieces)) and pieces[-1].stop == block.stop
        found = [record for piece in pieces for record in records_of(place.source, piece)]
        assert found == records_of(place.source, block)


def test_times_are_those_of_the_records(place, partition):
    for block in blocks_of(place.source.reader(partition, 0, COUNT)):
        offsets, times = place.source.times(block)
        assert [*zip(offsets.tolist(), times.tolist(), strict=True)] == [
            record[:2] for record in records_of(place.source, block)
        ]
        assert place.source.newest(block) == max(times)


@pytest.mark.parametrize("first", [COUNT + 50, COUNT + 5_000])
def test_offsets_that_are_gone_are_an_error(place, partition, first):
    reader = place.source.reader(partition, first, first + 1)
    with pytest.raises(LostOffsetsError, match=rf"filled\[0\]: offset {first} is gone, the source holds 0 to {COUNT}"):
        blocks_of(reader)


def test_a_reader_tells_how_far_it_is(place, partition):
    reader = place.source.reader(partition, 0, None)
    while not reader.at_end:
        reader.read(1.0)
    assert (reader.next, reader.end, reader.done) == (COUNT, COUNT, False)
    assert reader.read(0.05) is None
    reader.close()


def test_null_keys_and_values_are_kept(place):
    place.create("nulls", 1)
    place.send("nulls", [(0, None, b"v", 5), (0, b"k", None, 6), (0, b"", b"", 7)])
    partition = TopicPartition("nulls", 0)
    blocks = blocks_of(place.source.reader(partition, 0, 3))
    assert [record[2:] for block in blocks for record in records_of(place.source, block)] == [
        (None, b"v"),
        (b"k", None),
        (b"", b""),
    ]


def test_a_bounded_read_has_a_split_for_each_span_and_restarts_from_its_mark(place, partition):
    spans = [PartitionSpan("filled", 0, 0, 100, 5.0), PartitionSpan("filled", 0, 100, COUNT, 5.0)]
    splits = pickle.loads(pickle.dumps(BoundedRead(place.source, spans))).split(1)
    assert len(splits) == 2
    reader = splits[1].create_reader(None, None)
    assert reader.start()
    first = reader.get_current()
    coder = splits[1].get_checkpoint_mark_coder()
    mark = coder.decode(coder.encode(reader.get_checkpoint_mark()))
    reader.close()
    again = splits[1].create_reader(None, mark)
    blocks, more = [first], again.start()
    while more:
        blocks.append(again.get_current())
        more = again.advance()
    again.close()
    assert [record for block in blocks for record in records_of(place.source, block)] == expected(place, 100, COUNT)


def test_a_stream_has_a_split_for_each_partition(place, partition):
    class Beginning:
        def find(self):
            return StartOffsets({partition: 7})

    splits = StreamRead(StreamSettings(place.source, ("filled",)), Beginning()).split(1)
    reader = splits[0].create_reader(None, None)
    found, more = [], reader.start()
    while len(found) < COUNT - 7:
        found += records_of(place.source, reader.get_current()) if more else []
        more = reader.advance()
    reader.close()
    assert found == expected(place, 7, COUNT)


def test_the_proof_gets_the_same_messages_by_another_way(place, partition):
    log = place.source.message_log()
    held = log.held({partition: COUNT})[partition]
    assert (held.first, held.stop) == (0, COUNT)
    messages = log.read([OffsetRange("filled", 0, 10, 20)])
    assert [(m.offset, m.timestamp, m.key, m.value) for m in messages] == expected(place, 10, 20)


def test_secrets_are_shown_nowhere(place, monkeypatch, capfd, caplog):
    monkeypatch.setenv("CONTRACT_SECRET", "s3cr3t-canary")
    spec = SOURCES[place.kind]
    source = spec.open(spec.options.model_validate(place.options))
    said = ""
    try:
        source.connect().topics(["nothing"])
    except MillraceError as error:
        said = f"{error}{error.__cause__}{error.__context__}"
    said += f"{source!r} {source.where} {pickle.dumps(source)!r} {caplog.text} {capfd.readouterr()}"
    assert said and "s3cr3t-canary" not in said


def test_a_log_is_known_again_by_what_was_read_of_it_last(place, partition):
    (*_, block) = blocks_of(place.source.reader(partition, 0, COUNT))
    connection = place.source.connect()
    assert block.tail
    assert connection.cut_short([ReadUpTo(partition, block.tail)]) == {}
    assert connection.cut_short([]) == {}
    connection.close()
    reader = place.source.reader(partition, COUNT, None, tail=block.tail)
    assert reader.read(0.2) is None
    reader.close()
