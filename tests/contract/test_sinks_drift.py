"""What every target tells of changes that people made in its tables, and that it changes nothing when it is asked."""

import pyarrow as pa
import pytest
from support.by_hand import BY_HAND, CANNOT, INSERTS, change_by_hand, insert_by_hand
from support.targets import Target, delete, position, upsert

from millrace.schemas.errors import SinkError, TableError
from millrace.transforms.sinks import SINKS
from millrace.transforms.sinks.shared.drift import InspectedTable, inspect

COLUMNS = pa.schema([("id", pa.int64()), ("v", pa.string()), ("n", pa.int32()), ("d", pa.decimal128(50 - 12, 2))])
COLUMNS = COLUMNS.append(pa.field("s", pa.struct([("a", pa.list_(pa.int32())), ("b", pa.timestamp("ms", "UTC"))])))
KINDS = [pa.uint64(), pa.decimal256(50, 2), pa.duration("s"), pa.time32("s"), pa.time64("ns"), pa.binary(4), pa.null()]
KINDS += [pa.timestamp("ns"), pa.timestamp("s"), pa.map_(pa.string(), pa.list_(pa.int8())), pa.large_string()]


@pytest.fixture
def filled(target):
    target.schema = COLUMNS
    target.apply(upsert(1, id=1, v="a", n=5))
    return target


@pytest.mark.parametrize("kind", sorted(SINKS))
def test_a_table_that_nobody_touched_has_no_drift(kind, tmp_path):
    target = Target(kind, tmp_path)
    assert inspect(target.sink, target.name) == InspectedTable()
    if kind != "files":
        target.schema = pa.schema([*COLUMNS, *(pa.field(f"k {n} {kind}", kind) for n, kind in enumerate(KINDS))])
        target.apply(upsert(1, id=1, v="a", n=5))
        target.apply(upsert(2, id=2, v="b"))
        found = inspect(target.sink, target.name)
        assert (found.table, found.drift) == (target.table(), ())
        target.reopen()
        assert inspect(target.sink, target.name) == found
    target.close()


@pytest.mark.parametrize("what", ["add", "drop", "retype", "gone"])
def test_what_people_changed_is_told_and_whether_the_next_commit_is_refused(filled, what):
    if filled.kind not in BY_HAND or (filled.kind, what) in CANNOT:
        pytest.skip("nobody can do that there")
    change_by_hand(filled, what)
    found = inspect(filled.sink, filled.name)
    assert found.table == filled.table()
    column = {"add": "mine", "drop": "v", "retype": "n", "gone": ""}[what]
    (drift,) = [one for one in found.drift if one.column == column]
    assert drift.loses == (what in ("drop", "gone"))
    words = {
        "add": "was added by hand, ",
        "drop": "was dropped by hand",
        "retype": "retyped by hand",
        "gone": "dropped",
    }
    assert words[what] in drift.said
    assert inspect(filled.sink, filled.name) == found
    if not any(one.stops for one in found.drift):
        assert filled.apply(upsert(2, id=2, v="b", n=6)) == (1, 0)
    elif what != "retype":
        with pytest.raises((SinkError, TableError)):
            filled.apply(upsert(2, id=2, v="b", n=6))


def test_an_iceberg_column_that_was_renamed_is_told_and_stops_nothing(tmp_path):
    target = Target("iceberg", tmp_path, schema=COLUMNS)
    target.apply(upsert(1, id=1, v="a", n=5))
    change_by_hand(target, "rename")
    (drift,) = inspect(target.sink, target.name).drift
    assert (drift.column, drift.stops) == ("v", False)
    assert target.apply(upsert(2, id=2, v="b")) == (1, 0)
    target.close()


def test_a_growth_without_its_commit_is_no_drift_of_a_delta_table(tmp_path):
    from millrace.transforms.sinks.delta.tables import DeltaTables

    target = Target("delta", tmp_path, schema=COLUMNS)
    target.apply(upsert(1, id=1, v="a", n=5))
    grown = target.table(COLUMNS.append(pa.field("more", pa.int32())))
    tables = DeltaTables(str(tmp_path / "lake"), {})
    tables.grown(tables.open("orders"), grown)
    assert inspect(target.sink, target.name) == InspectedTable(grown)
    target.close()


@pytest.mark.parametrize("kind", INSERTS)
def test_a_row_that_others_inserted_is_older_than_any_change_of_its_key(kind, tmp_path):
    target = Target(kind, tmp_path)
    target.apply(upsert(1, id=1, v="a"), upsert(9, id=9, v="b"))
    for key in (1000, 1001, 1002, 1003):
        insert_by_hand(target, key, "people")
    assert target.apply(upsert(5, id=1000, v="c"), delete(5, id=1001), upsert(0, ["v"], id=1002)) == (3, 0)
    assert target.rows() == [(1, "a"), (1000, "c"), (1002, "people"), (1003, "people"), (9, "b")]
    assert target.apply(upsert(4, id=1000, v="late"), upsert(4, id=1001, v="late")) == (0, 2)
    assert target.apply(upsert(6, id=1, v="d"), upsert(6, ["v"], id=1003), truncate=position(5)) == (2, 0)
    assert target.rows() == [(1, "d"), (1003, None), (9, "b")]
    target.close()
