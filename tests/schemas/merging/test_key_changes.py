"""Key changes whose unavailable values stand in another key's last row: in the window, in the target, or nowhere."""

import json

import pyarrow as pa

from millrace.schemas.merging.key_changes import filled_new_keys, old_key
from millrace.schemas.merging.unavailable_values import MOVED_AT
from millrace.schemas.model.change import MOVED, MOVED_TYPE, POSITION, POSITION_TYPE, UNAVAILABLE, UNAVAILABLE_TYPE
from millrace.schemas.model.key_text import comparable
from millrace.schemas.model.table import Table

TABLE = Table("t", ("id",), pa.schema([("id", pa.int64()), ("note", pa.string())]))
SCHEMA = pa.schema(
    [
        *TABLE.columns,
        (POSITION, POSITION_TYPE),
        (UNAVAILABLE, UNAVAILABLE_TYPE),
        (MOVED, MOVED_TYPE),
        (MOVED_AT, POSITION_TYPE),
    ]
)


def at(commit, offset=0):
    return bytes(8) + commit.to_bytes(8, "big") * 2 + offset.to_bytes(8, "big")


def row(number, note, position, *, lacks=False, origin=None, origin_at=None):
    return {
        "id": number,
        "note": note,
        POSITION: position,
        UNAVAILABLE: ["note"] if lacks else None,
        MOVED: None if origin is None else json.dumps({"id": origin}).encode(),
        MOVED_AT: origin_at,
    }


def request(number, origin, commit, offset=1):
    return row(number, None, at(commit, offset), lacks=True, origin=origin, origin_at=at(commit, offset))


def filled(new_key_rows, old_key_rows=(), target=None):
    batch, gone = (pa.RecordBatch.from_pylist(list(rows), SCHEMA) for rows in (new_key_rows, old_key_rows))
    found, missed = filled_new_keys(
        TABLE, batch, [gone], lambda keys: {k: v for k, v in (target or {}).items() if k in keys}
    )
    assert found.schema.names == ["id", "note", POSITION]
    return {r["id"]: r["note"] for r in found.to_pylist()}, missed


def test_the_departure_of_the_same_key_change_has_the_value():
    departures = [row(1, "early", at(4)), row(1, "right", at(9, 7)), row(1, "late", at(12))]
    assert filled([request(2, 1, 9)], departures) == ({2: "right"}, 0)


def test_else_the_newest_departure_before_it():
    assert filled([request(2, 1, 9)], [row(1, "old", at(4)), row(1, "newer", at(7)), row(1, "late", at(12))]) == (
        {2: "newer"},
        0,
    )


def test_a_chain_of_key_changes_is_followed():
    third = row(3, None, at(9), lacks=True, origin=1, origin_at=at(6, 1))
    assert filled([request(2, 3, 9)], [third, row(1, "first", at(6))]) == ({2: "first"}, 0)


def test_a_circle_of_key_changes_ends():
    departures = [
        row(1, None, at(9), lacks=True, origin=3, origin_at=at(9)),
        row(3, None, at(9), lacks=True, origin=1, origin_at=at(9)),
    ]
    assert filled([request(2, 1, 9)], departures) == ({2: None}, 1)


def test_the_target_has_the_value_where_the_window_has_not():
    assert filled([request(2, 1, 9)], target={(1,): {"id": 1, "note": "kept"}}) == ({2: "kept"}, 0)
    lacking = [row(1, None, at(9), lacks=True)]
    assert filled([request(2, 1, 9)], lacking, {(1,): {"id": 1, "note": "kept"}}) == ({2: "kept"}, 0)


def test_a_replayed_key_change_keeps_the_value_that_its_own_row_has():
    assert filled([request(2, 1, 9, offset=5)], target={(2,): {"id": 2, "note": "filled before"}}) == (
        {2: "filled before"},
        0,
    )


def test_a_row_that_took_the_old_key_later_has_not_the_value():
    """As where a key change is replayed after another row moved to its old key."""
    target = {(1,): {"id": 1, "note": "of another", POSITION: at(12)}, (2,): {"id": 2, "note": "kept", POSITION: at(9)}}
    assert filled([request(2, 1, 9)], target=target) == ({2: "kept"}, 0)
    target[(1,)][POSITION] = at(8)
    assert filled([request(2, 1, 9)], target=target) == ({2: "of another"}, 0)
    departed = [row(1, None, at(9), lacks=True)]
    target[(1,)][POSITION] = at(12)
    assert filled([request(2, 1, 9)], departed, target) == ({2: "kept"}, 0)


def test_a_value_that_is_nowhere_is_null_and_counted():
    assert filled([request(2, 1, 9)]) == ({2: None}, 1)
    assert filled([{**request(2, 1, 9), MOVED: b"not json"}]) == ({2: None}, 1)


def test_keys_compare_as_connect_writes_them():
    table = Table("t", ("day", "blob"), pa.schema([("day", pa.date32()), ("blob", pa.binary())]))
    day = pa.scalar(19_000, pa.int32()).cast(pa.date32()).as_py()
    named = old_key(table, b'{"payload": {"day": 19000, "blob": "AQI=", "more": 1}}')
    assert named == (comparable(day, pa.date32()), comparable(b"\x01\x02", pa.binary()))
    assert old_key(table, b'{"day": 19000}') is None
    assert old_key(table, b"[1]") is None
