"""Every type that a decoder makes comes back from every target as it went in: nulls, extremes, nested."""

import math
from datetime import date

import pyarrow as pa
import pytest
from targets import delete, delta, upsert

from millrace.schemas.change import row_schema
from millrace.schemas.ledger import Account, Commit

MICROS = 1 << 58


def whole(kind: pa.DataType, *numbers: int) -> pa.Array:
    """Values of a type that is stored as numbers."""
    width = pa.int32() if kind.bit_width == 32 else pa.int64()
    return pa.array([*numbers, None], width).view(kind)


def exact(kind: pa.DataType, *texts: str) -> pa.Array:
    return pa.array([*texts, None]).cast(kind)


VALUES = [
    *(pa.array([-(2 ** (bits - 1)), 0, 2 ** (bits - 1) - 1, None], f"int{bits}") for bits in (8, 16, 32, 64)),
    *(pa.array([0, 2**bits - 1, None], f"uint{bits}") for bits in (8, 16, 32, 64)),
    pa.array([1.5, -0.0, math.inf, None], pa.float16()),
    pa.array([-0.0, 0.0, math.inf, -math.inf, math.nan, 3.4e38, 1e-45, None], pa.float32()),
    pa.array([-0.0, 0.0, math.inf, -math.inf, math.nan, 1.8e308, 5e-324, 0.1, None], pa.float64()),
    pa.array([True, False, None]),
    pa.array(["", " ", "a\0b", "😀", "'\"\\", "x" * 100_000, "NULL", None]),
    pa.array(["", "x", None], pa.large_string()),
    pa.array([b"", b"\0", bytes(range(256)), b"x" * 100_000, None]),
    pa.array([b"\0" * 16, b"\xff" * 16, None], pa.binary(16)),
    exact(pa.decimal128(38, 0), "9" * 38, "-" + "9" * 38, "0"),
    exact(pa.decimal128(38, 38), "0." + "9" * 38, "-0." + "9" * 38),
    exact(pa.decimal128(4, 2), "12.30", "-99.99", "0"),
    exact(pa.decimal256(76, 10), "9" * 66 + "." + "9" * 10, "-1.5", "0"),
    pa.array([date(1, 1, 1), date(1970, 1, 1), date(9999, 12, 31), None]),
    whole(pa.time32("s"), 0, 86_399),
    whole(pa.time32("ms"), 0, 86_399_999),
    whole(pa.time64("us"), 0, 86_399_999_999),
    whole(pa.time64("ns"), 0, 1, 86_399_999_999_999),
    *(whole(pa.timestamp(unit, zone), -MICROS // 10**step, -1, 0, 1, MICROS // 10**step)
      for step, unit in ((6, "s"), (3, "ms"), (0, "us")) for zone in (None, "UTC")),
    *(whole(pa.timestamp("ns", zone), -MICROS, -1, 0, 1, 2**62) for zone in (None, "UTC")),
    *(whole(pa.duration(unit), -(2**63), -1, 0, 1, 2**63 - 1) for unit in ("s", "ms", "us", "ns")),
    pa.array([[1, None, 2], [], None], pa.list_(pa.int32())),
    pa.array([[["a", None], [], None], None], pa.list_(pa.list_(pa.string()))),
    pa.array([{"x": 1, "y z": None}, {"x": None, "y z": "b"}, None], pa.struct({"x": pa.int8(), "y z": pa.string()})),
    pa.array([[{"a": b"12"}, None], None], pa.list_(pa.struct([("a", pa.binary(2))]))),
    pa.array([[("a", 1), ("b", None)], [], None], pa.map_(pa.string(), pa.int64())),
    pa.array([[("a", [{"d": 5}])], None], pa.map_(pa.string(), pa.list_(pa.struct([("d", pa.duration("s"))])))),
    pa.array([{"t": 1, "u": 2**64 - 1, "n": 5}], pa.struct(
        [("t", pa.time64("ns")), ("u", pa.uint64()), ("n", pa.timestamp("ns", "UTC"))])),
    pa.nulls(3),
]  # fmt: skip


def same(left: pa.Array, right: pa.Array) -> bool:
    """Equal to the bit: NaN is NaN and -0.0 is not 0.0."""
    if not pa.types.is_floating(left.type):
        return left.equals(right)
    return [repr(value) for value in left.to_pylist()] == [repr(value) for value in right.to_pylist()]


def rows_of(values: pa.Array, key: str = "id") -> pa.RecordBatch:
    schema = pa.schema([(key, pa.int64())])
    keys = delta(schema, [upsert(1, **{key: number}) for number in range(len(values))])
    return keys.add_column(1, pa.field("v", values.type), values)


@pytest.mark.parametrize("values", VALUES, ids=lambda values: str(values.type)[:40])
def test_values_come_back_as_they_went_in(target, values):
    rows = rows_of(values)
    target.schema = row_schema(rows.schema)
    staged = target.sink.stage(target.table(), rows)
    assert target.commit([staged]).applied == len(rows)
    target.reopen()
    found = target.read().sort_by("id").combine_chunks()
    assert found.schema.field("v").type == values.type
    assert same(found["v"].chunk(0), values)


def test_all_types_in_one_table_and_one_row(target):
    fields = {f"c{number}": values for number, values in enumerate(VALUES)}
    target.schema = pa.schema([("id", pa.int64()), *((name, values.type) for name, values in fields.items())])
    target.apply(upsert(1, id=1), upsert(1, id=2))
    rows = delta(target.schema, [upsert(2, id=1)])
    for number, (name, values) in enumerate(fields.items(), 1):
        rows = rows.set_column(number, name, values.slice(0, 1))
    staged = target.sink.stage(target.table(), rows)
    target.sink.commit(target.table(), [staged], Commit("shop", (Account("orders", 0, 2, 3, read=1),)))
    found = target.read().sort_by("id").combine_chunks()
    assert all(same(found[name].chunk(0).slice(0, 1), values.slice(0, 1)) for name, values in fields.items())
    assert all(found[name][1].as_py() is None for name in fields)


KEYS = [
    pa.array([-1, 0, 2**63 - 1]),
    pa.array([0, 2**63, 2**64 - 1], pa.uint64()),
    pa.array(["", "a", "a ", "A", "ä", "😀", "b\0c"]),
    pa.array([b"", b"\0", b"\xff"]),
    pa.array([b"0" * 16, b"1" * 16], pa.binary(16)),
    pa.array(["1.10", "1.11", "-5.00"]).cast(pa.decimal128(10, 2)),
    pa.array(["1" * 50, "2" * 50]).cast(pa.decimal256(50, 0)),
    pa.array([date(1, 1, 1), date(2024, 2, 29)]),
    pa.array([0, 1, -1], pa.timestamp("us", "UTC")),
    pa.array([0, 1, -1], pa.timestamp("ns")),
    pa.array([0, 1], pa.time64("us")),
    pa.array([0, 1], pa.duration("ms")),
    pa.array([True, False]),
    pa.array([0.5, -1.25]),
    pa.array(["6b8a1c8e-0000-4000-8000-000000000001", "6b8a1c8e-0000-4000-8000-000000000002"]),
]


@pytest.mark.parametrize("twice", [False, True], ids=["one column", "two columns"])
@pytest.mark.parametrize("keys", KEYS, ids=lambda keys: str(keys.type))
def test_any_scalar_type_can_be_a_key(target, keys, twice):
    target.key = ("k", "n") if twice else ("k",)
    target.schema = pa.schema([("k", keys.type), ("n", pa.int8()), ("v", pa.string())])

    def apply(at: int, make, text: str) -> tuple[int, int]:
        changes = [make(at, n=1, v=text) if make is upsert else make(at, n=1) for _ in keys]
        rows = delta(target.schema, changes).set_column(0, "k", keys)
        settled = target.commit([target.sink.stage(target.table(), rows)])
        return settled.applied, settled.superseded

    count = len(keys)
    assert apply(2, upsert, "two") == (count, 0)
    assert apply(1, upsert, "one") == (0, count)
    assert apply(3, upsert, "three") == (count, 0)
    assert target.read()["v"].to_pylist() == ["three"] * count
    assert apply(5, delete, "") == (count, 0)
    assert apply(4, upsert, "late") == (0, count)
    assert target.rows() == []
