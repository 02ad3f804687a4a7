"""What every target promises about columns whose type changes for good: `on_incompatible: new_column`."""

import datetime
from dataclasses import replace
from decimal import Decimal

import pyarrow as pa
import pytest
from support.targets import Change, delete, delta, upsert

from millrace.schemas.errors import ColumnsDecidedError, IncompatibleSchemaError
from millrace.schemas.merging.schema_changes import Label, PlannedChange, Policies, schema_changes
from millrace.schemas.model.incompatible_columns import OnIncompatible
from millrace.schemas.model.ledger import Commit, TopicPartition
from millrace.schemas.model.route import Route
from millrace.schemas.model.table import Table
from millrace.transforms.sinks.shared.drift import inspect
from millrace.transforms.sinks.shared.lookup import columns_of, widening_of
from millrace.transforms.steps.decide_columns import decide_columns
from millrace.transforms.steps.early_merge import marked
from millrace.transforms.steps.stage import stage

DAY, UTC = datetime.datetime(2024, 1, 2, 3, 4, 5), datetime.UTC
CHANGES = [
    (pa.int32(), pa.string(), 5, "x", "v__string"),
    (pa.string(), pa.int64(), "5", 1 << 40, "v__int64"),
    (pa.int64(), pa.float64(), 1 << 40, 0.5, "v__float64"),
    (pa.bool_(), pa.int32(), True, 2, "v__int32"),
    (pa.string(), pa.bool_(), "yes", False, "v__bool"),
    (pa.timestamp("us"), pa.timestamp("us", "UTC"), DAY, DAY.replace(tzinfo=UTC), "v__timestamptz"),
    (pa.timestamp("us", "UTC"), pa.timestamp("ms"), DAY.replace(tzinfo=UTC), DAY, "v__timestamp"),
    (pa.decimal128(10, 2), pa.string(), Decimal("1.25"), "0.5", "v__string"),
    (pa.float64(), pa.decimal128(38, 9), 0.5, Decimal("0.500000000"), "v__decimal"),
    (pa.string(), pa.date32(), "a", DAY.date(), "v__date"),
    (pa.string(), pa.binary(), "a", b"a", "v__binary"),
    (pa.list_(pa.int32()), pa.list_(pa.string()), [1, None], ["a", None], "v__list"),
    (pa.string(), pa.struct([("a", pa.int32())]), "a", {"a": 1}, "v__struct"),
    (pa.struct([("a", pa.int32())]), pa.struct([("a", pa.string())]), {"a": 1}, {"a": "b"}, "v__struct"),
    (pa.struct([("a", pa.int32())]), pa.list_(pa.int32()), {"a": 1}, [1], "v__list"),
]


def columns(kind: pa.DataType) -> pa.Schema:
    return pa.schema([("id", pa.int64()), ("v", kind)])


def route(target) -> Route:
    return Route(
        table=target.name,
        sources=(TopicPartition(target.topic, 0),),
        on_incompatible=OnIncompatible.NEW_COLUMN,
    )


def commit(target, *shards: list[tuple[pa.DataType, list[Change]]]) -> None:
    """Stage each shard's batches, a type each, and commit all of them; once more where columns had to be decided."""

    def attempt() -> list[Table]:
        parts = []
        for shard in shards:
            batches = [marked(delta(columns(kind), changes), ("id",), {}) for kind, changes in shard]
            parts.append(stage(target.sink, target.job, route(target), batches))
        try:
            rows = sum(part.staged.rows for part in parts)
            superseded = sum(sum(part.superseded.values()) for part in parts)
            account = replace(target.account(rows + superseded), superseded=superseded)
            target.commit([part.staged for part in parts], account)
        except IncompatibleSchemaError:
            return [part.table for part in parts]
        return []

    tables = attempt()
    if tables:
        with pytest.raises(ColumnsDecidedError):
            decide_columns(target.sink, target.job, route(target), tables)
        assert attempt() == []


def values(target) -> dict[int, dict]:
    """By id what the row has, without NULLs."""
    found = {}
    for row in target.read().to_pylist():
        number = row.pop("id")
        found[number] = {name: value for name, value in row.items() if value is not None}
    return found


@pytest.mark.parametrize(("old", "new", "before", "after", "beside"), CHANGES, ids=str)
def test_values_of_another_type_go_to_a_column_beside(target, old, new, before, after, beside):
    commit(target, [(old, [upsert(1, id=1, v=before), upsert(1, id=2, v=before), upsert(1, id=3, v=before)])])
    commit(target, [(new, [upsert(2, id=2, v=after), upsert(2, id=4, v=after), upsert(2, id=5, v=None)])])
    assert values(target) == {1: {"v": before}, 2: {beside: after}, 3: {"v": before}, 4: {beside: after}, 5: {}}
    commit(target, [(new, [upsert(3, ["v"], id=1), upsert(3, ["v"], id=2)])])
    # A value that was not sent stays, in whichever column it is; old changes may still come.
    commit(target, [(new, [upsert(4, ["v"], id=1), upsert(4, ["v"], id=2)]), (old, [upsert(4, id=4, v=before)])])
    commit(target, [(old, [upsert(5, ["v"], id=1), upsert(5, ["v"], id=2), delete(5, id=3)])])
    assert values(target) == {1: {"v": before}, 2: {beside: after}, 4: {"v": before}, 5: {}}
    held = columns_of(target.sink, target.name)
    assert (held.names, held.field("v").type, held.field(beside).type) == (["id", "v", beside], old, new)


@pytest.mark.parametrize(("old", "new", "before", "after", "beside"), [CHANGES[0], CHANGES[-1]], ids=str)
def test_shards_that_met_the_types_in_another_order_agree(target, old, new, before, after, beside):
    commit(
        target,
        [(old, [upsert(1, id=1, v=before)]), (new, [upsert(2, id=2, v=after)])],
        [(new, [upsert(2, id=3, v=after)])],
    )
    assert values(target) == {1: {"v": before}, 2: {beside: after}, 3: {beside: after}}


def test_a_third_type_gets_a_column_of_its_own_and_each_grows(target):
    commit(target, [(pa.string(), [upsert(1, id=1, v="a")])])
    commit(target, [(pa.int32(), [upsert(2, id=2, v=5)]), (pa.bool_(), [upsert(2, id=3, v=True)])])
    commit(target, [(pa.int64(), [upsert(3, id=4, v=1 << 40), upsert(3, id=2, v=6)])])
    assert values(target) == {1: {"v": "a"}, 2: {"v__int32": 6}, 3: {"v__bool": True}, 4: {"v__int32": 1 << 40}}


def test_columns_alone_can_be_committed(target):
    table = Table(target.name, ("id",), columns(pa.string()))
    for _ in range(2):
        target.sink.commit(table, [], Commit(target.job, ()))
    assert columns_of(target.sink, target.name).equals(table.columns)
    assert target.read().num_rows == 0
    target.apply(upsert(1, id=1, v="a"))
    assert target.rows() == [(1, "a")]


def test_a_key_column_of_another_type_stops_the_table_all_the_same(target):
    commit(target, [(pa.string(), [upsert(1, id=1, v="a")])])
    schema = pa.schema([("id", pa.string()), ("v", pa.string())])
    part = stage(target.sink, target.job, route(target), [marked(delta(schema, [upsert(2, id="x")]), ("id",), {})])
    with pytest.raises(IncompatibleSchemaError, match="column 'id' was int64 and is now string"):
        target.commit([part.staged])
    decide_columns(target.sink, target.job, route(target), [part.table])
    assert target.rows() == [(1, "a")]


def test_a_column_and_a_key_renamed_in_case_only_are_the_same_ones(target):
    target.key = ("id", "r")
    first = pa.schema([("id", pa.int64()), ("r", pa.string()), ("v", pa.string())])
    target.apply(upsert(1, id=1, r="a", v="x"), schema=first)
    other = pa.schema([("R", pa.string()), ("V", pa.string()), ("ID", pa.int64())])
    target.key = ("R", "ID")
    assert target.apply(upsert(2, ["V"], ID=1, R="a"), upsert(2, ID=2, R="a", V="y"), schema=other) == (2, 0)
    assert target.rows() == [(1, "a", "x"), (2, "a", "y")]
    assert target.apply(delete(3, ID=1, R="a"), schema=other) == (1, 0)
    assert target.rows() == [(2, "a", "y")]


KINDS = [
    (pa.int32(), pa.int64()),
    (pa.int64(), pa.int32()),
    (pa.int32(), pa.decimal128(30, 2)),
    (pa.date32(), pa.timestamp("us")),
    (pa.int32(), pa.string()),
    (pa.struct([("a", pa.int32())]), pa.struct([("a", pa.int32()), ("b", pa.string())])),
    (pa.list_(pa.int32()), pa.list_(pa.string())),
]


@pytest.mark.parametrize("policy", [OnIncompatible.STOP, OnIncompatible.NEW_COLUMN])
@pytest.mark.parametrize(("old", "new"), KINDS, ids=str)
def test_a_plan_says_what_a_commit_does(target, old, new, policy):
    target.apply(upsert(1, id=1), schema=columns(old))
    policies = Policies(policy, widening_of(target.sink))

    def plan() -> list[PlannedChange]:
        return schema_changes(inspect(target.sink, target.name).table, [target.table(columns(new))], policies).changes

    labels, way = {one.label for one in plan()}, replace(route(target), on_incompatible=policy)
    part = stage(target.sink, target.job, way, [marked(delta(columns(new), [upsert(2, id=2)]), ("id",), {})])
    if Label.DECIDE in labels:
        with pytest.raises(IncompatibleSchemaError):
            target.commit([part.staged])
    else:
        target.commit([part.staged])
        assert plan() == []
