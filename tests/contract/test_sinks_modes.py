"""What every target promises about modes: the rows of each, whatever the order and the cut of the changes."""

import tempfile
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.mode_tables import ModeTable, Versions, counts, moment
from support.targets import ROW, Change, Target, delete, position, upsert

from millrace.schemas.model.modes import Mode
from millrace.transforms.sinks import SINKS
from millrace.transforms.sinks.shared.guarantees import Promise
from millrace.transforms.sinks.shared.lookup import columns_of, find_rows

VERSION = ("id", "v", "_millrace_version", "_millrace_valid_from", "_millrace_valid_to", "_millrace_is_current")
DELETED = "_millrace_deleted"
MARKS = ("id", "v", DELETED, "_millrace_deleted_at")
LOG = ("id", "v", "_millrace_change", "_millrace_offset", "_millrace_not_sent")
KEY_ONLY = pa.schema([("id", pa.int64())])
EXAMPLES = 25


def kinds(mode):
    """The targets that keep tables in this mode: their `SPEC` says so, and docs/index.md."""
    return [kind for kind in sorted(SINKS) if mode in SINKS[kind].modes]


def opened(kind, mode, folder):
    table = ModeTable(Target(kind, folder), mode)
    yield table
    table.target.close()


@pytest.fixture(params=kinds(Mode.SOFT_DELETE))
def soft(request, tmp_path):
    yield from opened(request.param, Mode.SOFT_DELETE, tmp_path)


@pytest.fixture(params=kinds(Mode.APPEND))
def log(request, tmp_path):
    yield from opened(request.param, Mode.APPEND, tmp_path)


@pytest.fixture(params=kinds(Mode.SCD2))
def history(request, tmp_path):
    yield from opened(request.param, Mode.SCD2, tmp_path)


def versions(history):
    """Versions without the deletes that are rows."""
    return [row[:-1] for row in history.rows(*VERSION, DELETED) if not row[-1]]


def test_a_soft_delete_keeps_the_values_and_marks_the_row(soft):
    soft.feed(upsert(1, id=1, v="a"), upsert(2, id=2, v="b"))
    assert soft.rows(*MARKS) == [(1, "a", False, None), (2, "b", False, None)]
    assert counts(soft.feed(delete(3, id=1))) == (1, 0)
    assert counts(soft.feed(delete(4, id=2), schema=KEY_ONLY)) == (1, 0)
    assert soft.rows(*MARKS) == [(1, "a", True, moment(3)), (2, "b", True, moment(4))]
    soft.feed(upsert(5, id=1, v="again"))
    assert soft.rows(*MARKS) == [(1, "again", False, None), (2, "b", True, moment(4))]


def test_a_soft_delete_of_a_row_that_came_in_the_same_window(soft):
    assert counts(soft.feed(upsert(1, id=1, v="a"), delete(2, id=1), delete(3, id=9))) == (2, 1)
    assert soft.rows(*MARKS) == [(1, "a", True, moment(2)), (9, None, True, moment(3))]


def test_a_soft_delete_refuses_what_is_older(soft):
    soft.feed(delete(5, id=1))
    assert soft.target.counts(soft.feed(upsert(4, id=1, v="late")).accounts[0]) == (0, 1)
    assert soft.rows(*MARKS) == [(1, None, True, moment(5))]
    soft.feed(upsert(9, id=1, v="new"))
    assert soft.target.counts(soft.feed(delete(8, id=1)).accounts[0]) == (0, 1)
    assert soft.rows(*MARKS) == [(1, "new", False, None)]


def test_a_soft_delete_keeps_a_column_that_the_stream_dropped(soft):
    wide = pa.schema([*ROW, ("w", pa.int64())])
    soft.feed(upsert(1, id=1, v="a", w=7), schema=wide)
    soft.feed(upsert(2, ["v"], id=2), delete(3, id=1))
    assert soft.rows("id", "v", "w", DELETED) == [(1, "a", 7, True), (2, None, None, False)]


def test_the_log_has_every_change_once(log):
    changes = [upsert(0, id=1, v="a"), upsert(1, ["v"], id=1), delete(2, id=1), upsert(3, id=1, v="d")]
    assert counts(log.feed(*changes)) == (4, 0)
    assert log.target.counts(log.feed(*changes, upsert(4, id=1, v="e"), again=4).accounts[0]) == (1, 4)
    assert log.rows(*LOG) == [
        (1, "a", "upsert", 0, None),
        (1, "d", "upsert", 3, None),
        (1, "e", "upsert", 4, None),
        (1, None, "delete", 2, None),
        (1, None, "upsert", 1, ["v"]),
    ]


def test_both_halves_of_a_key_change_are_in_the_log(log):
    assert counts(log.feed(upsert(0, id=2, v="a"), delete(0, id=1, source=-1))) == (1, 0)
    assert log.rows(*LOG) == [(1, None, "delete", 0, None), (2, "a", "upsert", 0, None)]


def test_versions_follow_one_another(history):
    history.feed(upsert(1, id=1, v="a"), upsert(2, id=1, v="b"), upsert(3, id=2, v="x"))
    history.feed(upsert(4, id=1, v="c"), delete(5, id=2))
    assert versions(history) == [
        (1, "a", position(1).hex(), moment(1), moment(2), False),
        (1, "b", position(2).hex(), moment(2), moment(4), False),
        (1, "c", position(4).hex(), moment(4), None, True),
        (2, "x", position(3).hex(), moment(3), moment(5), False),
    ]
    history.feed(upsert(6, id=2, v="y"))
    assert versions(history)[-1] == (2, "y", position(6).hex(), moment(6), None, True)
    assert len(history.rows("id")) == 5


def test_a_late_change_finds_its_place_between_two_versions(history):
    history.feed(upsert(1, id=1, v="a"), upsert(9, id=1, v="i"))
    assert counts(history.feed(upsert(5, id=1, v="late"))) == (1, 0)
    assert [row[1:] for row in versions(history)] == [
        ("a", position(1).hex(), moment(1), moment(5), False),
        ("i", position(9).hex(), moment(9), None, True),
        ("late", position(5).hex(), moment(5), moment(9), False),
    ]


def test_a_late_version_ends_with_the_delete_that_is_there(history):
    history.feed(upsert(1, id=1, v="a"), delete(3, id=1))
    history.feed(delete(6, id=2))
    history.feed(upsert(2, id=1, v="b"), upsert(4, id=1, v="d"), upsert(5, id=2, v="late"))
    assert history.rows(*VERSION, DELETED) == [
        (1, "a", position(1).hex(), moment(1), moment(2), False, False),
        (1, "b", position(2).hex(), moment(2), moment(3), False, False),
        (1, "d", position(4).hex(), moment(4), None, True, False),
        (2, "late", position(5).hex(), moment(5), moment(6), False, False),
    ]


def test_a_replay_changes_no_version(history):
    changes = [upsert(1, id=1, v="a"), delete(2, id=1), upsert(3, id=1, v="c"), delete(4, id=2)]
    assert counts(history.feed(*changes)) == (4, 0)
    before = history.rows(*VERSION, DELETED, "_millrace_position")
    assert counts(history.feed(*changes, again=4)) == (0, 4)
    assert counts(history.feed(*changes[1:2], again=1)) == (0, 1)
    assert history.rows(*VERSION, DELETED, "_millrace_position") == before


def test_a_value_that_was_not_sent_is_that_of_the_version_before(history):
    history.feed(upsert(1, id=1, v="a"), upsert(2, ["v"], id=1), upsert(3, id=2, v="x"))
    history.feed(upsert(4, ["v"], id=1), upsert(5, ["v"], id=1), upsert(6, ["v"], id=3))
    assert [row[:3] for row in versions(history)] == [
        (1, "a", position(1).hex()),
        (1, "a", position(2).hex()),
        (1, "a", position(4).hex()),
        (1, "a", position(5).hex()),
        (2, "x", position(3).hex()),
        (3, None, position(6).hex()),
    ]


def test_versions_and_their_key_grow(history):
    wide = pa.schema([("id", pa.int64()), ("v", pa.string()), ("w", pa.int64())])
    narrow = pa.schema([("id", pa.int32()), ("v", pa.string())])
    history.feed(upsert(1, id=1, v="a"), schema=narrow)
    history.feed(upsert(2, id=1, v="b", w=2), upsert(3, id=2**40, v="x", w=3), schema=wide)
    history.feed(upsert(4, id=1, v="c"), schema=narrow)
    assert history.rows("id", "v", "w", "_millrace_is_current") == [
        (1, "a", None, False),
        (1, "b", 2, False),
        (1, "c", None, True),
        (2**40, "x", 3, True),
    ]


def test_rows_are_found_by_key(target):
    target.key, target.schema = ("a", "b"), pa.schema([("a", pa.int32()), ("b", pa.string()), ("v", pa.string())])
    found = find_rows(target.sink, target.name, pa.table({"a": pa.array([1], pa.int32())}), ["a", "v"])
    assert (len(found), found.column_names) == (0, ["a", "v"])
    assert columns_of(target.sink, target.name) is None
    last = "z" if Promise.NULL_KEYS in target.exceptions else None
    rows = [(a, n, b) for a in range(5) for n, b in enumerate(("x", "y", last))]
    target.apply(*(upsert(10 * a + n, a=a, b=b, v=f"{a}{b}") for a, n, b in rows))
    assert columns_of(target.sink, target.name).names == ["a", "b", "v"]

    def values(keys, upto=None):
        found = find_rows(target.sink, target.name, pa.table(keys), ["v", "_millrace_position"], upto)
        return sorted(zip(found["v"].to_pylist(), found["_millrace_position"].to_pylist(), strict=True), key=repr)

    assert values({"a": pa.array([1, 7], pa.int64())}) == [
        *sorted([(f"1{last}", position(12)), ("1x", position(10)), ("1y", position(11))], key=repr),
    ]
    assert values({"b": [last], "a": pa.array([3], pa.int8())}) == [(f"3{last}", position(32))]
    assert values({"b": ["x"]}, position(20)) == [("0x", position(0)), ("1x", position(10)), ("2x", position(20))]
    assert values({"a": pa.array([2**40], pa.int64())}) == []


CHANGES = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 24)), max_size=8)


def change(key: int, at: int) -> Change:
    """The one change that stands at this place: replays are equal."""
    return delete(at, id=key) if (key * 31 + at * 17) % 3 == 0 else upsert(at, id=key, v=f"{key}-{at}")


@pytest.mark.parametrize("kind", kinds(Mode.SCD2))
def test_any_order_and_cut_of_changes_ends_in_the_same_versions(kind):
    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
    @given(windows=st.lists(CHANGES, max_size=6), shards=st.integers(1, 3))
    def check(windows, shards):
        with tempfile.TemporaryDirectory() as folder:
            target = Target(kind, Path(folder))
            try:
                history, oracle = ModeTable(target, Mode.SCD2, shards), Versions()
                for window in windows:
                    changes = [change(key, at) for key, at in window]
                    new = sum([oracle.add(one) for one in changes])
                    assert counts(history.feed(*changes)) == (new, len(changes) - new)
                if any(windows):
                    assert history.rows(*VERSION, DELETED) == oracle.rows()
            finally:
                target.close()

    check()


@pytest.mark.parametrize("kind", kinds(Mode.SOFT_DELETE))
def test_any_order_and_cut_of_changes_ends_in_the_same_marks(kind):
    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
    @given(windows=st.lists(CHANGES, max_size=6), shards=st.integers(1, 3))
    def check(windows, shards):
        with tempfile.TemporaryDirectory() as folder:
            target = Target(kind, Path(folder))
            try:
                soft, newest = ModeTable(target, Mode.SOFT_DELETE, shards), {}
                for window in windows:
                    changes = [change(key, at) for key, at in window]
                    for key, at in window:
                        newest[key] = max(at, newest.get(key, 0))
                    assert sum(counts(soft.feed(*changes))) == len(changes)
                dead = {(key, True, moment(at)) for key, at in newest.items() if change(key, at).op}
                live = {(key, f"{key}-{at}", False, None) for key, at in newest.items() if not change(key, at).op}
                found = soft.rows(*MARKS) if newest else []
                assert {(key, *marks) for key, _, *marks in found if marks[0]} == dead
                assert {row for row in found if not row[2]} == live
                assert len(found) == len(newest)
            finally:
                target.close()

    check()
