"""What every source promises whose log has types: its blocks are changes, without an encoding or an envelope."""

import pickle
from itertools import pairwise

import pytest
from support.sources import TYPED_PLACES, blocks_of

from millrace.schemas.errors import LostOffsetsError
from millrace.schemas.model.change import DELETE, OP, POSITION, row_schema
from millrace.schemas.model.route import Route
from millrace.transforms.sources import SOURCES
from millrace.transforms.sources.database import KnowsTables
from millrace.transforms.sources.source import TypedSource

ROWS = 50
CHANGED = [(3, "new"), (4, None), (3, "newer"), (99, "made"), (99, None)]
HELD = {number: "copied" for number in range(1, ROWS + 1) if number != 4} | {3: "newer"}


@pytest.fixture(scope="module", params=sorted(TYPED_PLACES))
def place(request, tmp_path_factory):
    make = TYPED_PLACES[request.param]
    reason = make.missing()
    if reason is not None:
        pytest.skip(reason)
    found = make(tmp_path_factory.mktemp(request.param))
    found.partition = found.create(ROWS)
    for change in CHANGED:
        found.change(*change)
    yield found
    found.close()


@pytest.fixture
def bounds(place):
    connection = place.source.connect()
    try:
        return connection.offsets([place.partition])[place.partition]
    finally:
        connection.close()


def changes(place, blocks):
    """(key, name or None for a delete, position) of each change, in the order of positions."""
    found, route = [], Route(table="rows", sources=(place.partition,))
    for block in blocks:
        done = place.source.changes(block, route)
        assert done.letters == [] and (done.first, done.stop) == (block.first, block.stop)
        for batch in done.changes:
            for row in batch.to_pylist():
                found.append((row["id"], None if row[OP] == DELETE else row["name"], row[POSITION]))
    return sorted(found, key=lambda change: change[2])


def read(place, first, stop):
    blocks = blocks_of(place.source.reader(place.partition, first, stop))
    assert blocks[0].first == first and blocks[-1].stop >= stop
    assert all(one.stop == other.first for one, other in pairwise(blocks))
    return blocks


def folded(found):
    rows = {}
    for number, name, _ in found:
        rows[number] = name
    return {number: name for number, name in rows.items() if name is not None}


def test_every_typed_source_of_the_registry_is_tested():
    assert set(TYPED_PLACES) == {name for name in SOURCES if SOURCES[name].typed}


def test_it_travels_to_workers_and_shows_no_secret(place):
    assert isinstance(place.source, TypedSource)
    sent = pickle.dumps(place.source)
    again = pickle.loads(sent)
    assert again == place.source and hash(again) == hash(place.source) and again.where == place.source.where
    assert place.password.encode() not in sent and place.password not in repr(place.source) + place.source.where


def test_the_changes_fold_to_the_rows_of_the_source(place, bounds):
    assert folded(changes(place, read(place, *bounds))) == HELD


def test_a_reader_that_begins_where_another_stopped_misses_nothing(place, bounds):
    blocks = read(place, *bounds)
    whole = changes(place, blocks)
    for number in range(1, len(blocks)):
        rest = read(place, blocks[number].first, bounds[1])
        assert sorted(changes(place, blocks[:number]) + changes(place, rest), key=lambda change: change[2]) == whole


def test_a_block_is_cut_at_any_record(place, bounds):
    for block in read(place, *bounds):
        offsets, times = place.source.times(block)
        assert len(offsets) == len(times)
        starts = sorted({block.first, *(int(offset) for offset in offsets)})
        pieces = place.source.cut(block, starts)
        assert [piece.first for piece in pieces] == starts and pieces[-1].stop == block.stop
        assert changes(place, pieces) == changes(place, [block])


def test_an_offset_behind_the_end_is_lost(place, bounds):
    reader = place.source.reader(place.partition, bounds[1] + (1 << 40), None)
    with pytest.raises(LostOffsetsError, match="nothing was skipped") as raised:
        for _ in range(10):
            reader.read(0.5)
    reader.close()
    # A job of tables says no `start`, which the advice for messages names.
    assert "source.start" not in str(raised.value) and "new copy" in str(raised.value)


def test_the_catalog_tells_the_columns_that_changes_have(place, bounds):
    route, connection = Route(table="rows", sources=(place.partition,)), place.source.connect()
    if not isinstance(connection, KnowsTables):
        pytest.skip("it does not tell columns: a plan reads them from the last changes")
    told = connection.columns(place.partition.topic, route)
    connection.close()
    found = [place.source.changes(block, route) for block in read(place, *bounds)]
    schemas = [(done.key, row_schema(batch.schema)) for done in found for batch in done.changes]
    assert schemas
    assert all(one == (told.key, told.columns) for one in schemas)
