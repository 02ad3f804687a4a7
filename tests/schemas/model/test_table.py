import functools
import itertools
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.schemas.errors import IncompatibleSchemaError, TableError
from millrace.schemas.model.table import Table, check_columns, check_name, conform, grow, unify, widened

SCALARS = [
    *(pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint32(), pa.uint64()),
    *(pa.float16(), pa.float32(), pa.float64(), pa.bool_(), pa.string(), pa.large_string(), pa.null(), pa.date32()),
    *(pa.binary(), pa.binary(4), pa.binary(8), pa.large_binary(), pa.decimal128(5, 2), pa.decimal128(38, 0)),
    *(pa.decimal128(20, 18), pa.decimal256(76, 0), pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns")),
    *(pa.timestamp(unit, zone) for unit in ("s", "us", "ns") for zone in (None, "UTC", "Europe/Oslo")),
    *(pa.duration("s"), pa.duration("ns")),
]
TYPES = st.recursive(
    st.sampled_from(SCALARS),
    lambda inner: st.one_of(
        inner.map(pa.list_),
        inner.map(pa.large_list),
        inner.map(lambda kind: pa.map_(pa.string(), kind)),
        st.dictionaries(st.sampled_from("abc"), inner, max_size=3).map(lambda kinds: pa.struct(list(kinds.items()))),
    ),
    max_leaves=4,
)


def normal(kind: pa.DataType | None):
    """A type without the order of struct fields."""
    if kind is None or not pa.types.is_nested(kind):
        return str(kind)
    fields = [kind.field(number) for number in range(kind.num_fields)]
    if pa.types.is_map(kind):
        fields = [pa.field("key", kind.key_type), pa.field("item", kind.item_type)]
    return f"{type(kind).__name__} {sorted((field.name, normal(field.type)) for field in fields)}"


@given(TYPES, TYPES)
def test_widening_is_symmetric(left, right):
    assert normal(widened(left, right)) == normal(widened(right, left))


def folds(kinds):
    """What all orders of these types come to."""
    orders = itertools.permutations(kinds)
    return {
        normal(functools.reduce(lambda old, new: None if old is None else widened(old, new), order)) for order in orders
    }


@given(TYPES, TYPES, TYPES)
def test_the_order_of_types_decides_nothing(first, second, third):
    assert len(folds([first, second, third])) == 1


def test_the_order_of_any_three_scalar_types_decides_nothing():
    assert all(len(folds(kinds)) == 1 for kinds in itertools.combinations(SCALARS, 3))


@given(TYPES)
def test_a_type_is_its_own_widening(kind):
    assert widened(kind, kind) == kind
    assert widened(kind, pa.null()) == kind


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (pa.int8(), pa.int16(), pa.int16()),
        (pa.int64(), pa.int32(), pa.int64()),
        (pa.uint8(), pa.uint64(), pa.uint64()),
        (pa.int32(), pa.float32(), pa.float64()),
        (pa.int32(), pa.float64(), pa.float64()),
        (pa.float32(), pa.float64(), pa.float64()),
        (pa.decimal128(10, 2), pa.decimal128(8, 4), pa.decimal128(12, 4)),
        (pa.decimal128(38, 0), pa.decimal128(38, 10), pa.decimal256(48, 10)),
        (pa.timestamp("ms"), pa.timestamp("us"), pa.timestamp("us")),
        (pa.time32("ms"), pa.time64("us"), pa.time64("us")),
        (pa.binary(4), pa.binary(8), pa.binary()),
        (pa.int64(), pa.float64(), None),
        (pa.uint8(), pa.int32(), None),
        (pa.string(), pa.int32(), None),
        (pa.string(), pa.binary(), None),
        (pa.timestamp("us"), pa.timestamp("us", "UTC"), None),
        (pa.decimal256(76, 0), pa.decimal128(38, 10), None),
        (pa.int32(), pa.decimal128(38, 0), pa.decimal128(38, 0)),
        (pa.int64(), pa.decimal128(10, 2), pa.decimal128(21, 2)),
        (pa.uint32(), pa.decimal128(38, 0), None),
        (pa.float32(), pa.decimal128(38, 0), None),
        (pa.date32(), pa.timestamp("us"), pa.timestamp("us")),
        (pa.date32(), pa.timestamp("us", "UTC"), None),
        (pa.bool_(), pa.int8(), None),
        (pa.list_(pa.int32()), pa.int32(), None),
        (pa.struct([("a", pa.int32())]), pa.struct([("a", pa.string())]), None),
    ],
)
def test_what_widens_to_what(old, new, expected):
    assert widened(old, new) == expected


def test_old_columns_stand_first_and_missing_ones_are_nullable():
    old = pa.schema([pa.field("id", pa.int32(), nullable=False), pa.field("a", pa.string(), nullable=False)])
    new = pa.schema([pa.field("b", pa.int8(), nullable=False), pa.field("id", pa.int64(), nullable=False)])
    assert grow("t", old, new) == pa.schema(
        [pa.field("id", pa.int64(), nullable=False), pa.field("a", pa.string()), pa.field("b", pa.int8())]
    )
    assert unify("t", [old, new, old]) == grow("t", old, new)


def test_a_change_that_loses_values_says_what_and_what_to_do():
    with pytest.raises(IncompatibleSchemaError) as caught:
        grow("shop.orders", pa.schema([("total", pa.int64())]), pa.schema([("total", pa.float64())]))
    assert "table shop.orders: column 'total' was int64 and is now double" in str(caught.value)
    assert "on_incompatible: new_column" in str(caught.value)
    assert "on_incompatible: dead_letter" in str(caught.value)


def test_a_batch_takes_the_grown_schema():
    batch = pa.RecordBatch.from_pylist([{"x": 1, "s": {"a": 1}}, {"x": None, "s": None}, {"x": 3, "s": {"a": None}}])
    inner = pa.struct([("b", pa.list_(pa.string())), ("a", pa.float64())])
    schema = pa.schema([("new", pa.date32()), ("s", inner), ("x", pa.int64())])
    batch = batch.cast(pa.schema([("x", pa.int8()), ("s", pa.struct([("a", pa.int32())]))]))
    expected = [
        {"new": None, "s": {"b": None, "a": 1.0}, "x": 1},
        {"new": None, "s": None, "x": None},
        {"new": None, "s": {"b": None, "a": None}, "x": 3},
    ]
    assert conform(batch, schema).to_pylist() == expected
    assert conform(batch.slice(1), schema).to_pylist() == expected[1:]
    assert conform(batch.slice(3), schema).to_pylist() == []


NESTED = [
    (pa.list_(pa.int8()), pa.large_list(pa.int64()), [[1, None], None, [], [3]]),
    (pa.map_(pa.string(), pa.float32()), pa.map_(pa.string(), pa.float64()), [[("a", 1.5)], None, [], [("b", None)]]),
    (pa.list_(pa.struct([("a", pa.int8())])), pa.list_(pa.struct([("a", pa.int16())])), [[{"a": 1}, None], None, []]),
    (pa.decimal128(3, 1), pa.decimal256(50, 4), [Decimal("1.5"), None]),
]


@pytest.mark.parametrize(("old", "new", "values"), NESTED, ids=str)
def test_values_inside_lists_and_maps_are_cast_also_in_slices(old, new, values):
    batch = pa.RecordBatch.from_arrays([pa.array(values, old)], ["v"])
    for start in range(len(values)):
        found = conform(batch.slice(start), pa.schema([("v", new)]))
        found.validate(full=True)
        assert found.schema.field("v").type == new
        assert found.column("v").to_pylist() == pa.array(values[start:], new).to_pylist()


def test_a_value_that_does_not_fit_is_refused():
    batch = pa.RecordBatch.from_arrays([pa.array([1 << 60], pa.timestamp("s"))], ["at"])
    with pytest.raises(IncompatibleSchemaError, match=r"column 'at': a value does not fit timestamp\[ns\]"):
        conform(batch, pa.schema([("at", pa.timestamp("ns"))]))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["id", "Id"], "columns 'id' and 'Id' differ in case only"),
        (["id", "_millrace_x"], "begins with _millrace_"),
        (["id", "_Millrace_x"], "begins with _millrace_"),
        (["id", ""], "is empty"),
        (["id", "a\0"], "NUL"),
        (["x"], "the key column 'id' is not in the rows"),
    ],
)
def test_columns_that_targets_cannot_keep_apart(names, message):
    with pytest.raises(IncompatibleSchemaError, match=message):
        check_columns(Table("t", ("id",), pa.schema([(name, pa.int8()) for name in names])))


def test_table_names():
    check_name("orders", ["items", "orders"])
    for name, message in (
        ("Orders", "differs in case only"),
        ("_millrace_t", "begins with"),
        ("", "empty"),
        ("\0", "NUL"),
    ):
        with pytest.raises(TableError, match=message):
            check_name(name, ["orders"])
