"""What every target promises about rows. It runs over the registry: a sink that is not in it does not exist."""

import re

import pyarrow as pa
import pytest
from support.targets import NO_RIGHTS, PLACES, WITHOUT_RIGHTS, Target, delete, folder_without_rights, position, upsert

from millrace.schemas.errors import MillraceError, TableError
from millrace.schemas.model.ledger import Account, Commit
from millrace.transforms.sinks import SINKS
from millrace.transforms.sinks.shared.guarantees import Promise


def test_every_sink_of_the_registry_is_tested():
    assert set(PLACES) == set(SINKS)


def test_the_first_commit_makes_the_table(target):
    assert target.sink.tables() == ()
    assert target.apply(upsert(1, id=1, v="a"), upsert(2, id=2, v="b")) == (2, 0)
    assert target.rows() == [(1, "a"), (2, "b")]
    assert target.sink.tables() == ("orders",)
    assert "orders" in target.sink.describe("orders")


def test_the_same_delta_twice_changes_nothing(target):
    changes = [upsert(1, id=1, v="a"), delete(2, id=2)]
    assert target.apply(*changes) == (2, 0)
    assert target.apply(*changes) == (0, 2)
    assert target.rows() == [(1, "a")]


def test_a_newer_change_replaces_an_older_one_does_not(target):
    target.apply(upsert(5, id=1, v="five"), upsert(5, id=2, v="five"))
    assert target.apply(upsert(6, id=1, v="six"), upsert(4, id=2, v="four")) == (1, 1)
    assert target.rows() == [(1, "six"), (2, "five")]


def test_positions_compare_as_unsigned_bytes(target):
    target.apply(upsert(1 << 191, id=1, v="high"))
    assert target.apply(upsert((1 << 191) - 1, id=1, v="low")) == (0, 1)
    assert target.apply(upsert((1 << 192) - 1, id=1, v="highest")) == (1, 0)
    assert target.rows() == [(1, "highest")]


def test_an_equal_position_changes_nothing(target):
    target.apply(upsert(5, id=1, v="first"))
    assert target.apply(upsert(5, id=1, v="second")) == (0, 1)
    assert target.rows() == [(1, "second" if Promise.TIES in target.exceptions else "first")]


def test_a_late_upsert_does_not_bring_back_a_deleted_row(target):
    target.apply(upsert(1, id=1, v="a"))
    assert target.apply(delete(9, id=1)) == (1, 0)
    assert target.apply(upsert(8, id=1, v="late")) == (0, 1)
    assert target.rows() == []


def test_a_delete_of_an_unknown_key_refuses_older_upserts(target):
    target.apply(upsert(1, id=1, v="a"))
    assert target.apply(delete(9, id=7)) == (1, 0)
    assert target.apply(upsert(8, id=7, v="late"), upsert(10, id=1, v="b")) == (1, 1)
    assert target.rows() == [(1, "b")]


def test_the_first_commit_may_hold_deletes_only(target):
    assert target.apply(delete(9, id=7), schema=pa.schema([("id", pa.int64())])) == (1, 0)
    assert target.apply(upsert(8, id=7, v="late")) == (0, 1)
    assert target.apply(upsert(10, id=7, v="new")) == (1, 0)
    assert target.rows() == [(7, "new")]


def test_a_row_can_be_inserted_again_after_its_delete_and_deleted_again(target):
    target.apply(upsert(1, id=1, v="a"))
    target.apply(delete(2, id=1))
    assert target.apply(upsert(3, id=1, v="again")) == (1, 0)
    assert target.rows() == [(1, "again")]
    assert target.apply(delete(4, id=1)) == (1, 0)
    assert target.apply(upsert(3, id=1, v="again")) == (0, 1)
    assert target.rows() == []


def test_a_late_delete_does_not_remove_a_newer_row(target):
    target.apply(upsert(5, id=1, v="a"))
    assert target.apply(delete(4, id=1)) == (0, 1)
    assert target.rows() == [(1, "a")]


def test_a_delete_needs_the_key_only(target):
    target.apply(upsert(1, id=1, v="a"), upsert(1, id=2, v="b"))
    target.apply(delete(2, id=1), schema=pa.schema([("id", pa.int64())]))
    assert target.rows() == [(2, "b")]


@pytest.mark.parametrize("last", [None, 3])
def test_several_key_columns_with_nulls(target, last):
    target.key = ("a", "b")
    target.schema = pa.schema([("v", pa.string()), ("b", pa.string()), ("a", pa.int32())])
    if last is None and Promise.NULL_KEYS in target.exceptions:
        for key in ({"a": None, "b": "x"}, {"a": 1, "b": None}):
            with pytest.raises(TableError, match="holds NULL"):
                target.apply(upsert(1, **key, v="old"))
            with pytest.raises(TableError, match="holds NULL"):
                target.apply(delete(1, **key))
        assert (target.sink.tables(), target.next) == ((), None)
        return
    blank = None if last is None else ""
    target.apply(*(upsert(1, a=a, b=b, v="old") for a in (1, 2, last) for b in ("x", "y", blank)))
    changes = [upsert(2, a=1, b="y", v="new"), upsert(2, a=last, b="x", v="new"), delete(2, a=last, b=blank)]
    assert target.apply(*changes, upsert(0, a=2, b=blank, v="late"), delete(2, a=4, b="x")) == (4, 1)
    new = {(row["a"], row["b"]): row["v"] for row in target.read().to_pylist()}
    assert len(new) == 8 and {key for key, value in new.items() if value == "new"} == {(1, "y"), (last, "x")}


def test_all_rows_may_have_one_value_in_a_part_of_the_key(target):
    target.key, target.schema = ("k", "id"), pa.schema([("id", pa.int64()), ("k", pa.string()), ("v", pa.string())])
    target.apply(*(upsert(1, id=n, k="same", v="a") for n in range(9)))
    changes = [upsert(2, id=1, k="same", v="b"), upsert(2, id=9, k="same", v="c"), upsert(2, id=1, k="other", v="d")]
    assert target.apply(*changes) == (3, 0)
    assert target.apply(upsert(3, id=1, k="same", v="e"), upsert(1, id=9, k="same", v="late")) == (1, 1)
    assert len(target.rows()) == 11


def test_an_empty_string_is_not_null(target):
    target.key, target.schema = ("k",), pa.schema([("k", pa.string()), ("v", pa.string())])
    lone = "NULL" if Promise.NULL_KEYS in target.exceptions else None
    target.apply(upsert(1, k="", v=""), upsert(1, k=lone, v=None), upsert(1, k=" ", v=" "))
    target.apply(upsert(2, k="", v=None))
    assert target.rows() == sorted([(" ", " "), ("", None), (lone, None)], key=repr)


def test_an_unavailable_value_stays_as_it_is_in_the_target(target):
    target.schema = pa.schema(
        [("id", pa.int64()), ("v", pa.string()), ("w", pa.list_(pa.int64())), ("x y", pa.int32())]
    )
    target.apply(upsert(1, id=1, v="keep", w=[1, 2], **{"x y": 5}), upsert(1, id=2, v="keep", w=[3], **{"x y": 6}))
    target.apply(
        upsert(2, ["v"], id=1, w=[9], **{"x y": 7}),
        upsert(2, ["v", "w", "x y"], id=2),
        upsert(2, ["v"], id=3, w=[4]),
        upsert(2, id=4, v="whole", w=None),
    )
    assert target.rows() == [
        (1, "keep", [9], 7),
        (2, "keep", [3], 6),
        (3, None, [4], None),
        (4, "whole", None, None),
    ]


def test_a_superseded_partial_row_changes_nothing(target):
    target.apply(upsert(5, id=1, v="a"))
    assert target.apply(upsert(4, ["v"], id=1), upsert(1, ["v"], id=2)) == (1, 1)
    assert target.rows() == [(1, "a"), (2, None)]


def test_several_staged_deltas_go_in_by_one_commit(target):
    parts = [target.stage(*(upsert(1, id=10 * shard + n, v="a") for n in range(10))) for shard in range(5)]
    assert target.commit(parts).applied == 50
    assert len(target.rows()) == 50


def test_rows_come_back_with_their_position_where_it_is_named(target):
    target.apply(upsert(7, id=1, v="a"))
    assert target.read(["v", "_millrace_position"]).to_pylist() == [{"v": "a", "_millrace_position": position(7)}]
    assert target.read(["v", "_millrace_position"]).schema.field(1).type == pa.binary(32)


def test_reading_what_is_not_there_is_a_clear_error(target):
    with pytest.raises(TableError, match="no table 'orders'"):
        target.read()
    target.apply(upsert(7, id=1, v="a"))
    with pytest.raises(TableError, match="no column 'w'"):
        target.read(["w"])


def test_a_truncate_removes_what_is_below_it_and_refuses_what_comes_late(target):
    target.apply(upsert(5, id=1, v="below"), upsert(20, id=2, v="above"), upsert(5, id=3, v="below"))
    target.apply(delete(6, id=9))
    settled = target.apply(upsert(4, id=4, v="late"), upsert(30, ["v"], id=1), delete(31, id=3), truncate=position(10))
    assert settled == (2, 1)
    assert target.rows() == [(1, None), (2, "above")]
    assert target.ledger.truncate == position(10)
    assert target.apply(upsert(9, id=5, v="late"), upsert(11, id=6, v="new"), upsert(12, id=9, v="new")) == (2, 1)
    target.apply(upsert(40, id=7, v="x"), truncate=position(8))
    assert target.ledger.truncate == position(10)
    assert target.rows() == [(1, None), (2, "above"), (6, "new"), (7, "x"), (9, "new")]


@pytest.mark.parametrize("place", [0, 10, (1 << 192) - 1, 1 << 191, (1 << 64) - 1, 1 << 127])
def test_a_truncate_without_rows_counts_too(target, place):
    target.commit([], Account("orders", 0, 0, 1, read=1), truncate=position(place), truncates={0: 1})
    assert target.ledger.truncate == position(place)
    assert target.apply(upsert(place, id=1, v="late")) == (0, 1)
    assert target.rows() == []
    if place + 1 < 1 << 192:
        assert target.apply(upsert(place + 1, id=1, v="new")) == (1, 0)


def test_a_truncate_alone_empties_the_table(target):
    target.apply(upsert(5, id=1, v="below"), upsert(20, id=2, v="above"))
    target.commit([], Account("orders", 0, 2, 3, read=1), truncate=position(10), truncates={0: 1})
    assert target.rows() == [(2, "above")]


@pytest.mark.parametrize("left", ["nothing", "a newer row"])
def test_a_truncate_that_finds_nothing_to_remove_is_kept(target, left):
    target.apply(upsert(20, id=1, v="above"))
    if left == "nothing":
        target.apply(delete(21, id=1))
    next_offset = target.next
    account = Account("orders", 0, next_offset, next_offset + 1, read=1)
    target.commit([], account, truncate=position(10), truncates={0: 1})
    assert (target.next, target.ledger.truncate) == (next_offset + 1, position(10))
    assert target.apply(upsert(9, id=5, v="late")) == (0, 1)


def test_two_tables_do_not_touch_each_other(target):
    other = Target(target.kind, target.folder, name="items", _sink=target.sink)
    target.apply(upsert(5, id=1, v="order"))
    other.apply(upsert(1, id=1, v="item"), upsert(1, id=2, v="item"))
    target.apply(delete(6, id=1))
    assert (target.rows(), other.rows()) == ([], [(1, "item"), (2, "item")])
    assert (target.next, other.next) == (2, 2)
    assert target.sink.tables() == ("items", "orders")


def test_a_table_whose_name_differs_in_case_only_is_refused(target):
    target.apply(upsert(5, id=1, v="a"))
    with pytest.raises(TableError, match=r"'ORDERS'.*'orders' exists in the target and differs in case only"):
        Target(target.kind, target.folder, name="ORDERS", _sink=target.sink).apply(upsert(5, id=1, v="a"))
    assert target.rows() == [(1, "a")]


def test_a_commit_without_its_staged_rows_changes_nothing(target):
    staged = target.stage(upsert(1, id=1, v="a"))
    target.reopen()
    with pytest.raises(MillraceError, match="run the job again"):
        target.commit([staged])
    assert target.next is None


def test_a_place_that_does_not_exist_is_named(target):
    lost = Target(target.kind, target.folder / "no" / "such")
    with pytest.raises(MillraceError, match=rf"{re.escape(lost.shown)}.* does not exist"):
        lost.apply(upsert(1, id=1, v="a"))


def test_a_place_without_rights_is_named(target):
    if target.kind in NO_RIGHTS:
        pytest.skip(f"a target of type {target.kind} has no rights")
    assert target.sink.tables() == ()
    with (
        WITHOUT_RIGHTS.get(target.kind, folder_without_rights)() as folder,
        pytest.raises(MillraceError, match=r"[Pp]ermission"),
    ):
        Target(target.kind, folder).apply(upsert(1, id=1, v="a"))


def test_rows_without_an_account_are_applied_and_not_counted(target):
    parts = [target.stage(upsert(1, id=1, v="a"), delete(1, source=-1, id=2), upsert(2, source=1, id=3, v="b"))]
    accounts = (Account("orders", 0, 0, 1, read=1), Account("orders", 1, 5, 6, read=1))
    settled = target.sink.commit(target.table(), parts, Commit("shop", accounts))
    assert [account.applied for account in settled] == [1, 1]
    assert target.apply(upsert(0, id=2, v="late")) == (0, 1)
