"""What every target promises about schemas that change, and about names."""

import re

import pyarrow as pa
import pytest
from support.targets import IN_FOLDER, delete, upsert

from millrace.schemas.errors import IncompatibleSchemaError, MillraceError, TableError
from millrace.transforms.sinks.shared.guarantees import Promise

ODD_NAMES = [
    "select", "order", "a b", 'x"; DROP TABLE t;--', "it's", "a.b", "a`b", "a,b;{}()=", "😀", "ä", "tab\there", "~41",
    "100%", "new\nline", "$1", "?", ":x", "\\", "rowid",
]  # fmt: skip


def columns(**types) -> pa.Schema:
    return pa.schema([("id", pa.int64()), *types.items()])


def test_a_new_column_is_null_in_older_rows(target):
    target.apply(upsert(1, id=1, v="a"))
    target.apply(upsert(2, id=2, v="b", w=1.5), schema=columns(v=pa.string(), w=pa.float64()))
    target.apply(upsert(3, id=3, v="c"))
    assert target.rows() == [(1, "a", None), (2, "b", 1.5), (3, "c", None)]


GROWTHS = [
    (pa.int8(), pa.int64(), [-128, None], [2**63 - 1]),
    (pa.int32(), pa.float64(), [2**31 - 1, None], [0.1]),
    (pa.float32(), pa.float64(), [1.5, None], [0.1]),
    (pa.decimal128(5, 2), pa.decimal128(12, 4), ["1.25", None], ["12345678.1234"]),
    (pa.decimal128(38, 0), pa.decimal256(60, 10), ["9" * 38, None], ["9" * 50 + "." + "1" * 10]),
    (pa.int32(), pa.decimal128(20, 0), [2**31 - 1, None], ["9" * 20]),
    (pa.int64(), pa.decimal128(38, 4), [-(2**63), None], ["12345678.1234"]),
    (pa.date32(), pa.timestamp("us"), [19000, None], [123456789]),
    (pa.date32(), pa.timestamp("ns"), [19000, None], [123456789]),
    (pa.timestamp("ms", "UTC"), pa.timestamp("ns", "UTC"), [1, None], [123456789]),
    (pa.timestamp("s"), pa.timestamp("us"), [1, None], [123456789]),
    (pa.time32("ms"), pa.time64("ns"), [1, None], [123456789]),
    (pa.duration("s"), pa.duration("us"), [1, None], [123456789]),
    (pa.null(), pa.string(), [None, None], ["x"]),
    (pa.list_(pa.int32()), pa.list_(pa.int64()), [[1, None], None], [[2**40]]),
    (
        pa.struct([("x", pa.int32()), ("d", pa.duration("s"))]),
        pa.struct([("x", pa.int64()), ("d", pa.duration("ms")), ("y", pa.string())]),
        [{"x": 1, "d": 5}, None],
        [{"x": 2**40, "y": "y", "d": 1}],
    ),
]  # fmt: skip


def values(kind: pa.DataType, items: list) -> pa.Array:
    if pa.types.is_decimal(kind):
        return pa.array(items).cast(kind)
    return pa.array(items, kind)


@pytest.mark.parametrize(("old", "new", "before", "after"), GROWTHS, ids=lambda kind: str(kind)[:20])
def test_a_column_grows_where_no_value_is_lost(target, old, new, before, after):
    first, second = values(old, before).to_pylist(), values(new, after).to_pylist()
    target.apply(*(upsert(1, id=n, v=value) for n, value in enumerate(first)), schema=columns(v=old))
    try:
        target.apply(*(upsert(1, id=n, v=value) for n, value in enumerate(second, 10)), schema=columns(v=new))
    except IncompatibleSchemaError as error:
        assert Promise.REWRITES in target.exceptions and "stores in another way" in str(error)
        assert (target.next, target.read()["v"].type) == (len(first), old)
        return
    target.apply(*(upsert(2, id=n, v=value) for n, value in enumerate(first, 20)), schema=columns(v=old))
    found = target.read()
    assert found.schema.field("v").type == new
    held = dict(zip(found["id"].to_pylist(), found["v"].to_pylist(), strict=True))
    widened = [{**value, "y": None} if isinstance(value, dict) else value for value in first]
    if pa.types.is_date(old):
        widened = values(old, before).cast(new).to_pylist()
    assert held == {**dict(enumerate(widened)), **dict(enumerate(second, 10)), **dict(enumerate(widened, 20))}
    assert target.apply(upsert(0, id=0, v=None), schema=columns(v=new)) == (0, 1)


def test_the_key_and_its_tombstones_grow(target):
    narrow, wide = pa.schema([("id", pa.int32()), ("v", pa.string())]), columns(v=pa.string())
    target.apply(upsert(1, id=1, v="a"), delete(9, id=2), schema=narrow)
    assert target.apply(upsert(5, id=2, v="late"), upsert(2, id=2**40, v="b"), schema=wide) == (1, 1)
    assert target.apply(upsert(5, id=2, v="late"), upsert(3, id=1, v="c"), schema=narrow) == (1, 1)
    assert target.rows() == [(1, "c"), (2**40, "b")]


def test_the_deltas_of_one_commit_may_have_different_schemas(target):
    parts = [
        target.stage(upsert(1, id=1, a=1), schema=columns(a=pa.int32())),
        target.stage(upsert(1, id=2, b="b", a=2**40), schema=columns(b=pa.string(), a=pa.int64())),
        target.stage(upsert(1, ["a"], id=3, c=b"c"), schema=columns(c=pa.binary())),
    ]
    assert target.commit(parts).applied == 3
    rows = {row["id"]: row for row in target.read().to_pylist()}
    assert rows[1] == {"id": 1, "a": 1, "b": None, "c": None}
    assert rows[2] == {"id": 2, "a": 2**40, "b": "b", "c": None}
    assert rows[3] == {"id": 3, "a": None, "b": None, "c": b"c"}


@pytest.mark.parametrize("kind", [pa.int64(), pa.binary(), pa.list_(pa.string()), pa.timestamp("us")], ids=str)
def test_any_other_change_is_refused_and_changes_nothing(target, kind):
    target.apply(upsert(1, id=1, v="a"))
    with pytest.raises(IncompatibleSchemaError, match=re.escape(f"orders: column 'v' was string and is now {kind}")):
        target.apply(upsert(2, id=1, w=1), schema=columns(w=pa.int64(), v=kind))
    assert (target.rows(), target.next) == ([(1, "a")], 1)
    assert target.apply(upsert(2, id=1, v="b")) == (1, 0)


def test_another_key_is_refused(target):
    target.apply(upsert(1, id=1, v="a"))
    target.key = ("id", "v")
    with pytest.raises(IncompatibleSchemaError, match=r"its key in .* is \(id\) and that of the stream is \(id, v\)"):
        target.apply(upsert(2, id=1, v="b"))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["V"], "differ in case only"),
        (["_millrace_op2"], "begins with _millrace_"),
        (["a\0b"], "NUL"),
        ([""], "is empty"),
    ],
)
def test_column_names_that_a_target_cannot_hold_are_refused(target, names, message):
    target.apply(upsert(1, id=1, v="a"))
    schema = columns(v=pa.string(), **dict.fromkeys(names, pa.string()))
    with pytest.raises(IncompatibleSchemaError, match=message):
        target.apply(upsert(2, id=1, v="b"), schema=schema)
    assert target.rows() == [(1, "a")]


@pytest.mark.parametrize("name", ["_millrace_ledger", "a\0b", ""])
def test_table_names_that_a_target_cannot_hold_are_refused(target, name):
    target.name = name
    with pytest.raises(TableError):
        target.apply(upsert(1, id=1, v="a"))


def test_any_column_name_works(target):
    target.key = ("a.b", 'x"; DROP TABLE t;--')
    target.schema = pa.schema([(name, pa.string()) for name in ODD_NAMES])
    row = {name: name for name in ODD_NAMES}
    assert target.apply(upsert(1, **row), upsert(1, **{**row, "a.b": "other"})) == (2, 0)
    assert target.apply(upsert(2, ["a`b", "it's", "😀"], **{**row, "a`b": None, "it's": "x", "select": "new"})) == (
        1,
        0,
    )
    assert target.apply(delete(2, **{**row, "a.b": "other"})) == (1, 0)
    assert target.read().to_pylist() == [{**row, "select": "new"}]
    assert target.read(["a,b;{}()=", "select"]).to_pylist() == [{"a,b;{}()=": "a,b;{}()=", "select": "new"}]


@pytest.mark.parametrize("name", [*ODD_NAMES, "..", ".hidden", "a/b", "../x", "%2e%2e", "C:\\x", "*", "_x", "x" * 60])
def test_any_table_name_works(target, name):
    target.name = name
    target.apply(upsert(1, id=1, v="a"), delete(1, id=2))
    target.reopen()
    target.apply(upsert(2, id=1, v="b"))
    assert target.rows() == [(1, "b")]
    assert target.sink.tables() == (name,)
    assert target.sink.describe(name)
    target.close()
    assert len(list(target.folder.iterdir())) <= IN_FOLDER.get(target.kind, 1)


def test_two_hundred_columns(target):
    target.schema = columns(**{f"c{number}": pa.int32() for number in range(200)})
    target.apply(*(upsert(1, id=row, **{f"c{n}": n * row for n in range(200)}) for row in range(5)))
    target.apply(upsert(2, [f"c{n}" for n in range(0, 200, 2)], id=3, **{f"c{n}": -1 for n in range(200)}))
    rows = {row.pop("id"): list(row.values()) for row in target.read().to_pylist()}
    assert rows[4] == [4 * n for n in range(200)]
    assert rows[3] == [-1 if n % 2 else 3 * n for n in range(200)]


def test_a_value_that_does_not_fit_the_grown_type_is_refused(target):
    target.apply(upsert(1, id=1, v=2**34), schema=columns(v=pa.timestamp("s")))
    told = "stores in another way" if Promise.REWRITES in target.exceptions else "does not fit"
    with pytest.raises(MillraceError, match=told):
        target.apply(upsert(1, id=2, v=1), schema=columns(v=pa.timestamp("ns")))
    assert target.read().schema.field("v").type == pa.timestamp("s")
