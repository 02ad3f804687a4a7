"""Every type that a decoder makes comes back from every target as it went in: nulls, extremes, nested."""

import re
from datetime import date

import pyarrow as pa
import pytest
from support.targets import delete, delta, upsert
from support.values import VALUES, of_years_1_to_9999, same

from millrace.schemas.errors import IncompatibleSchemaError
from millrace.schemas.model.change import row_schema
from millrace.schemas.model.ledger import Account, Commit
from millrace.transforms.sinks.shared.guarantees import Promise
from millrace.transforms.sinks.shared.lookup import find_rows


def rows_of(values: pa.Array, key: str = "id") -> pa.RecordBatch:
    schema = pa.schema([(key, pa.int64())])
    keys = delta(schema, [upsert(1, **{key: number}) for number in range(len(values))])
    return keys.add_column(1, pa.field("v", values.type), values)


@pytest.mark.parametrize("values", VALUES, ids=lambda values: str(values.type)[:40])
def test_values_come_back_as_they_went_in(target, values):
    rows = rows_of(values)
    target.schema = row_schema(rows.schema)
    if Promise.YEARS in target.exceptions and not same(of_years_1_to_9999(values), values):
        with pytest.raises(IncompatibleSchemaError, match=r"'v': a value lies outside the years 1 to 9999"):
            target.commit([target.sink.stage(target.table(), rows)])
        assert (target.sink.tables(), target.next) == ((), None)
        values = of_years_1_to_9999(values)
        rows = rows_of(values)
    staged = target.sink.stage(target.table(), rows)
    assert target.commit([staged]).applied == len(rows)
    target.reopen()
    found = target.read().sort_by("id").combine_chunks()
    assert found.schema.field("v").type == values.type
    assert same(found["v"].chunk(0), values)


def test_all_types_in_one_table_and_one_row(target):
    moved = of_years_1_to_9999 if Promise.YEARS in target.exceptions else lambda values: values
    fields = {f"c{number}": moved(values) for number, values in enumerate(VALUES)}
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
        return target.counts(target.commit([target.sink.stage(target.table(), rows)]))

    count = len(keys)
    if Promise.ANY_KEY in target.exceptions and (pa.types.is_floating(keys.type) or pa.types.is_time(keys.type)):
        with pytest.raises(IncompatibleSchemaError, match=re.escape(f"the key column 'k' is {keys.type}")):
            apply(2, upsert, "two")
        assert target.sink.tables() == ()
        return
    assert apply(2, upsert, "two") == (count, 0)
    assert apply(1, upsert, "one") == (0, count)
    assert apply(3, upsert, "three") == (count, 0)
    assert target.read()["v"].to_pylist() == ["three"] * count
    assert apply(5, delete, "") == (count, 0)
    assert apply(4, upsert, "late") == (0, count)
    assert target.rows() == []


@pytest.mark.parametrize("twice", [False, True], ids=["one column", "two columns"])
@pytest.mark.parametrize("keys", KEYS, ids=lambda keys: str(keys.type))
def test_rows_are_found_by_a_key_of_any_scalar_type(target, keys, twice):
    if Promise.ANY_KEY in target.exceptions and (pa.types.is_floating(keys.type) or pa.types.is_time(keys.type)):
        return
    target.key = ("k", "n") if twice else ("k",)
    target.schema = pa.schema([("k", keys.type), ("n", pa.int8()), ("v", pa.string())])
    rows = delta(target.schema, [upsert(1, n=1, v=str(number)) for number in range(len(keys))])
    target.commit([target.sink.stage(target.table(), rows.set_column(0, "k", keys))])
    asked = {"k": keys[1:], "n": pa.array([1] * (len(keys) - 1), pa.int8())}
    found = find_rows(target.sink, target.name, pa.table({name: asked[name] for name in target.key}), ["k", "v"])
    assert sorted(found["v"].to_pylist()) == sorted(map(str, range(1, len(keys))))
    assert found.sort_by("v").column("k").combine_chunks().equals(keys[1:])
