"""What new schemas would do to a table, by label: nothing, safe, a decision, or a loss."""

import pyarrow as pa
import pytest

from millrace.schemas.merging.schema_changes import Label, Policies, schema_changes
from millrace.schemas.model.incompatible_columns import OnIncompatible
from millrace.schemas.model.table import Table

HELD = Table("orders", ("id",), pa.schema([("id", pa.int64()), ("v", pa.string()), ("n", pa.int32())]))
STOP, BESIDE, DEAD = (Policies(policy) for policy in OnIncompatible)


def table(key=("id",), **columns):
    return Table("orders", key, pa.schema(list(columns.items())))


def told(*wanted, held=HELD, policies=STOP):
    """(column, label) of each change."""
    return [(one.column, one.label) for one in schema_changes(held, wanted, policies).changes]


SAME = {"id": pa.int64(), "v": pa.string(), "n": pa.int32()}
CASES = {
    "nothing": (SAME, []),
    "narrower": ({**SAME, "n": pa.int8(), "id": pa.int32()}, []),
    "another case": ({"ID": pa.int64(), "V": pa.string(), "n": pa.int32()}, []),
    "new": ({**SAME, "more": pa.date32()}, [("more", Label.SAFE)]),
    "wider": ({**SAME, "n": pa.int64()}, [("n", Label.SAFE)]),
    "wider key": ({**SAME, "id": pa.decimal128(38, 0)}, [("id", Label.SAFE)]),
    "gone": ({"id": pa.int64(), "n": pa.int32()}, [("v", Label.SAFE)]),
    "another key type": ({**SAME, "id": pa.string()}, [("id", Label.DECIDE)]),
    "a column of ours": ({**SAME, "_millrace_x": pa.int8()}, [("_millrace_x", Label.SAFE), ("", Label.DECIDE)]),
    "twins": ({**SAME, "m": pa.int8(), "M": pa.int8()}, [("m", Label.SAFE), ("M", Label.SAFE), ("", Label.DECIDE)]),
}


@pytest.mark.parametrize("policies", [STOP, BESIDE, DEAD])
@pytest.mark.parametrize(("columns", "expected"), CASES.values(), ids=CASES)
def test_what_no_policy_decides(columns, expected, policies):
    assert told(table(**columns), policies=policies) == expected


@pytest.mark.parametrize(
    ("policies", "label", "said"),
    [
        (STOP, Label.DECIDE, "stops the table"),
        (BESIDE, Label.SAFE, "new column n__string"),
        (DEAD, Label.LOSES, "become dead letters"),
    ],
)
def test_a_type_that_does_not_fit_is_what_the_policy_makes_of_it(policies, label, said):
    (found,) = schema_changes(HELD, [table(**{**SAME, "n": pa.string()})], policies).changes
    assert (found.column, found.label) == ("n", label)
    assert said in found.said


def test_a_column_beside_that_is_there_takes_the_values_and_nothing_changes():
    held = Table("orders", ("id",), HELD.columns.append(pa.field("n__string", pa.string())))
    assert told(table(**{**SAME, "n": pa.string()}), held=held, policies=BESIDE) == []
    assert told(table(**SAME), held=held) == []
    held = Table("orders", ("id",), HELD.columns.append(pa.field("n__date", pa.date32())))
    moment = table(**{**SAME, "n": pa.timestamp("us")})
    assert told(moment, held=held, policies=BESIDE) == [("n__date", Label.SAFE)]


def test_several_schemas_come_one_after_the_other():
    wider, more = table(**{**SAME, "n": pa.int64()}), table(**{**SAME, "more": pa.int8()})
    assert told(wider, more, table(**{**SAME, "more": pa.int16()})) == [
        *[("n", Label.SAFE), ("more", Label.SAFE)],
        ("more", Label.SAFE),
    ]


def test_a_table_that_is_not_there_is_made():
    (found,) = schema_changes(None, [table(**SAME)], STOP).changes
    assert (found.label, found.said) == (Label.SAFE, "new table, key (id): id int64, v string, n int32")


def test_a_vanished_column_beside_a_new_one_of_its_type_bears_a_hint():
    found = schema_changes(HELD, [table(id=pa.int64(), w=pa.string(), x=pa.string(), n=pa.int32())], STOP).changes
    (gone,) = [one for one in found if one.column == "v"]
    assert "renames: {v: w}" in gone.hint
    assert "renames: {v: x}" in gone.hint
    found = schema_changes(HELD, [table(id=pa.int64(), w=pa.int8(), n=pa.int32())], STOP).changes
    assert [one.hint for one in found] == ["", ""]


def test_another_key_or_mode_needs_a_decision():
    assert told(table(key=("id", "v"), **SAME)) == [("", Label.DECIDE)]
    deleted = {"_millrace_deleted": pa.bool_(), "_millrace_deleted_at": pa.timestamp("ms", "UTC")}
    assert told(table(**SAME, **deleted)) == [("", Label.DECIDE)]


def test_what_a_target_does_not_rewrite_needs_a_decision_whatever_the_policy():
    def narrow(old, new):
        return old if old.equals(new) else None

    for policy in (OnIncompatible.STOP, OnIncompatible.DEAD_LETTER):
        (found,) = schema_changes(HELD, [table(**{**SAME, "n": pa.int64()})], Policies(policy, narrow)).changes
        assert (found.label, "stores in another way" in found.said) == (Label.DECIDE, True)
    beside = schema_changes(
        HELD, [table(**{**SAME, "n": pa.int64()})], Policies(OnIncompatible.NEW_COLUMN, narrow)
    ).changes
    assert [one.label for one in beside] == [Label.SAFE]
