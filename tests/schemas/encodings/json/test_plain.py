"""JSON without a schema: every value is what orjson and Python's decimals make of its text, or a dead letter."""

import json
from decimal import Decimal
from fractions import Fraction

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from millrace.schemas.encodings.json.options import JsonOptions
from millrace.schemas.encodings.json.plain import PlainDecoder
from millrace.schemas.encodings.json.shape import MAX_FIELDS
from millrace.schemas.model.declared_type import STRUCT, declared_type


class Known:
    """Types by column, and what a table holds."""

    def __init__(self, declared=None, held=None):
        self.types = {name: declared_type(text) for name, text in (declared or {}).items()}
        self.columns = held or {}

    def declared(self, path):
        return self.types.get(path[0]) if len(path) == 1 else None if path else STRUCT

    def may_lack(self, path):
        return None

    def column(self, path):
        return path[0] if len(path) == 1 else None

    def held(self, path):
        return self.columns.get(path[0]) if len(path) == 1 else None


def decoder(declared=None, held=None, **options):
    return PlainDecoder(JsonOptions(**options), None, Known(declared, held))


def decoded(one, texts):
    """The array, and the reasons by row."""
    data = np.frombuffer(b"".join(texts) + b"\0", np.uint8)
    length = np.array([len(text) for text in texts], np.int64)
    done = one.decode(data, np.cumsum(length) - length, length)
    return done.array, {int(row): done.message(int(row)) for row in np.flatnonzero(done.errors)}


def rows(one, *texts):
    array, errors = decoded(one, [text if isinstance(text, bytes) else json.dumps(text).encode() for text in texts])
    assert not errors, errors
    return array.to_pylist()


def test_fields_are_learnt_from_the_messages_and_only_grow():
    one = decoder()
    assert rows(one, {"a": 1, "b": None}) == [{"a": 1, "b": None}]
    array, _ = decoded(one, [b'{"a":2,"c":{"d":[true]}}', b'{"b":"x"}'])
    assert array.type == pa.struct(
        [("a", pa.int64()), ("b", pa.string()), ("c", pa.struct([("d", pa.list_(pa.bool_()))]))]
    )
    assert array.to_pylist() == [{"a": 2, "b": None, "c": {"d": [True]}}, {"a": None, "b": "x", "c": None}]
    array, _ = decoded(one, [b'{"a":0.5}', b'{"a":7}'])
    assert array.field("a").to_pylist() == [0.5, 7.0]


def test_whole_numbers_beyond_64_bits_keep_every_digit():
    large = 10**30 + 1
    assert rows(decoder(), {"n": 9007199254740993}) == [{"n": 9007199254740993}]
    assert rows(decoder(), {"n": 1}, {"n": large}, {"n": -large}) == [{"n": n} for n in (1, large, -large)]
    assert rows(decoder(), {"n": 10**60}) == [{"n": 10**60}]
    _, errors = decoded(decoder(), [b'{"n":%d}' % 10**80])
    assert "beyond the range" in errors[0] or "no value" in errors[0]


def test_what_the_table_holds_as_numbers_with_fractions_may_be_whole():
    array, errors = decoded(decoder(held={"n": pa.float64()}), [b'{"n":1}', b'{"n":9007199254740993}'])
    assert array.field("n").to_pylist() == [1.0, None]
    assert "more digits than a double holds" in errors[1]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b'{"n":"x"}', "n: the value is not of the type that its field has"),
        (b'{"n":[1]}', "n: the value is not"),
        (b'{"n":0.12345678901234567890}', "n: a number with more digits"),
        (b'{"":1}', "a field that cannot be a column"),
        (b"[1]", "the value is not"),
        (b"null", "not optional"),
        (b"", "ends too early"),
        (b'{"n":01}', "not JSON"),
        (b'{"n":NaN}', "the value is not"),
        (b'{"x":"\\udc00"}', "an escape"),
        (b'{"x":"\xff"}', "not UTF-8"),
        (b'{"x":' + b"[" * 200 + b"]" * 200 + b"}", "nested more than 128 deep"),
    ],
)
def test_what_cannot_be_a_row_is_told(text, why):
    one = decoder()
    rows(one, {"n": 0.5})
    array, errors = decoded(one, [b'{"n":1.5}', text, b'{"n":2.5}'])
    assert list(errors) == [1] and why in errors[1]
    assert array.field("n").to_pylist() == [1.5, None, 2.5]


def test_fields_without_end_are_told():
    one = decoder()
    _, errors = decoded(one, [b'{"f%d":1}' % i for i in range(MAX_FIELDS + 5)])
    assert list(errors) == list(range(MAX_FIELDS, MAX_FIELDS + 5))
    assert rows(one, {"f1": 3})[0]["f1"] == 3


def test_a_key_twice_has_its_last_value():
    found = rows(decoder(), b'{"a":1,"b":12.50,"a":{"c":1,"c":2}}', b'{"b":1.25,"b":null}')
    assert found == [{"a": {"c": 2}, "b": 12.5}, {"a": None, "b": None}]


DECLARED = [
    ("int32", [5, "-7"], [5, -7]),
    ("float64", [1, "2.5", "NaN"], [1.0, 2.5, float("nan")]),
    ("float32", [0.1], [0.10000000149011612]),
    ("bool", [True, None], [True, None]),
    ("decimal(38,2)", ["12.5", "-0.01", "1e3"], [Decimal("12.50"), Decimal("-0.01"), Decimal("1000.00")]),
    ("decimal(76,40)", [7, "0.5"], [Decimal(7), Decimal("0.5")]),
    ("decimal", ["12.50", 3], ["12.50", "3"]),
    ("binary", ["AP8=", ""], [b"\0\xff", b""]),
    ("list<int64>", [[1, None], []], [[1, None], []]),
]


@pytest.mark.parametrize(("kind", "written", "expected"), DECLARED)
def test_declared_types_read_their_forms(kind, written, expected):
    found = [row["x"] for row in rows(decoder({"x": kind}), *({"x": value} for value in written))]
    # repr tells NaN from numbers, and 1 from True; of decimals the value counts.
    assert found == expected if kind.startswith("decimal(") else repr(found) == repr(expected)


def test_dates_and_times_are_numbers_as_debezium_counts_them_or_iso_8601():
    kinds = {"d": "date", "t": "time(ms)", "m": "timestamp", "n": "timestamp(ns)", "z": "timestamptz", "i": "duration"}
    one = decoder(kinds)
    numbers = {"d": 1, "t": 3_600_000, "m": 1_500_000, "n": 5, "z": 1_000_000, "i": 7}
    texts = {
        "d": "1970-01-02",
        "t": "01:00:00",
        "m": "1970-01-01 00:00:01.5",
        "n": "1970-01-01T00:00:00.000000005",
        "z": "1970-01-01T01:00:01+01:00",
        "i": 7,
    }
    array, errors = decoded(one, [json.dumps(numbers).encode(), json.dumps(texts).encode()])
    assert not errors and array[0].equals(array[1])
    assert [str(field.type) for field in array.type] == [
        *("date32[day]", "time32[ms]", "timestamp[us]", "timestamp[ns]", "timestamp[us, tz=UTC]", "duration[us]")
    ]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("int8", 128),
        ("int64", "12x"),
        ("int64", 1.5),
        ("decimal(4,2)", "123.45"),
        ("decimal(4,2)", "0.001"),
        ("decimal(4,2)", "x"),
        ("date", "2024-02-30"),
        ("time(ms)", "00:00:00.0001"),
        ("timestamp", "2024-01-01"),
        ("binary", "A==="),
        ("bool", 1),
        ("string", 1),
        ("list<int64>", [1, "x"]),
    ],
)
def test_what_is_no_value_of_the_declared_type_is_told(kind, value):
    _, errors = decoded(decoder({"x": kind}), [json.dumps({"x": value}).encode()])
    assert errors[0].startswith("x")


def test_decimals_and_bytes_in_the_forms_that_debezium_can_be_told():
    one = decoder({"d": "decimal(9,2)", "v": "decimal", "b": "binary"}, decimals="precise", binary="hex")
    assert rows(one, {"d": "AMg=", "v": {"scale": 3, "value": "+w=="}, "b": "00fF"}) == [
        {"d": Decimal("2.00"), "v": "-0.005", "b": b"\0\xff"}
    ]
    assert rows(decoder({"b": "binary"}, binary="base64_url"), {"b": "-_8="}) == [{"b": b"\xfb\xff"}]


TEXT = st.text(max_size=6)
LEAF = st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 63) - 1) | st.floats(allow_nan=False) | TEXT
VALUE = st.recursive(
    LEAF,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT.filter(bool), inner, max_size=3),
    max_leaves=6,
)


def as_row(value, kind):
    """A value of the oracle as Arrow's row shows it; of a type that the value's kind is not, None."""
    if pa.types.is_struct(kind):
        return {field.name: as_row(value.get(field.name), field.type) for field in kind} if value is not None else None
    if pa.types.is_list(kind) and value is not None:
        return [as_row(part, kind.value_type) for part in value]
    return float(value) if pa.types.is_floating(kind) and value is not None else value


@settings(max_examples=250, deadline=None)
@given(row=st.dictionaries(TEXT.filter(bool), VALUE, max_size=4), spaces=st.booleans())
@example(row={"a": [1, 0.5], "b": [{}, {"c": None}]}, spaces=True)
def test_a_row_is_what_orjson_reads(row, spaces):
    text = (
        json.dumps(row, indent=1 if spaces else None, ensure_ascii=spaces, allow_nan=False, default=str).encode(
            "utf-8", "surrogatepass"
        )
        if all(abs(v) != float("inf") for v in _floats(row))
        else b"{}"
    )
    array, errors = decoded(decoder(), [text])
    try:
        oracle = orjson.loads(text)
    except orjson.JSONDecodeError:
        assert 0 in errors
        return
    if errors:
        # Values of two kinds in one list, or whole numbers that a double does not show beside fractions.
        assert "not of the type that its field has" in errors[0] or "more digits" in errors[0]
        return
    assert repr(array[0].as_py()) == repr(as_row(oracle, array.type))


def _floats(value):
    if isinstance(value, float):
        yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _floats(part)


@settings(max_examples=200, deadline=None)
@given(
    number=st.decimals(-(10**50), 10**50, allow_nan=False),
    kind=st.sampled_from([(9, 2), (38, 10), (76, 30)]),
)
def test_a_decimal_keeps_every_digit_or_is_told(number, kind):
    digits, scale = kind
    array, errors = decoded(decoder({"x": f"decimal({digits},{scale})"}), [json.dumps({"x": str(number)}).encode()])
    unscaled = Fraction(number) * 10**scale
    fits = unscaled.denominator == 1 and abs(unscaled) < 10**digits
    assert fits == (not errors)
    assert errors or array.field("x")[0].as_py() == number


@settings(max_examples=200, deadline=None)
@given(row=st.dictionaries(TEXT.filter(bool), VALUE, max_size=3), data=st.data())
def test_a_mutated_text_harms_no_other(row, data):
    text = bytearray(json.dumps({"n": 1, **{f"k{name}": part for name, part in row.items()}}).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.sampled_from(b'"\\{}[],:0-.eEnu \x00\xc3'))
    array, errors = decoded(decoder({"n": "int64"}), [b'{"n":1}', bytes(text), b'{"n":2}'])
    assert set(errors) <= {1} and (array.field("n")[0].as_py(), array.field("n")[2].as_py()) == (1, 2)
    try:
        orjson.loads(bytes(text))
    except orjson.JSONDecodeError:
        assert 1 in errors
