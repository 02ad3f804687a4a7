"""The COPY encoder and decoder against a real Postgres: what goes in is what Postgres says is in, and comes back."""

import math
import random
from datetime import date
from decimal import Decimal

import numpy as np
import psycopg
import pyarrow as pa
import pytest
from support.postgres_server import server

from millrace.transforms.sinks.postgres.columns import (
    MOST_BYTES,
    converted,
    escape_texts,
    physical,
    sql_type,
    unescape_texts,
)
from millrace.transforms.sinks.postgres.copy_format.decode import column, split
from millrace.transforms.sinks.postgres.copy_format.encode import SIGNATURE, beyond, cells, encode
from millrace.transforms.sinks.shared.json_values import same_json


def through(values: pa.Array, shown: str = "v::text") -> tuple[list, pa.Array]:
    """The column through a table of Postgres: what `shown` says of each row, and what comes back."""
    more = beyond(values)
    columns = [values, *([] if more is None else [more])]
    declared = f"v {sql_type(values.type)}" + ("" if more is None else ", b bigint")
    with psycopg.connect(server().dsn()) as con:
        con.execute(f"CREATE TEMP TABLE t (n serial, {declared})".encode())
        names = "v" if more is None else "v, b"
        with con.cursor().copy(f"COPY t ({names}) FROM STDIN (FORMAT binary)".encode()) as copy:
            copy.write(encode([cells(array) for array in columns]))
        said = [row[0] for row in con.execute(f"SELECT {shown} FROM t ORDER BY n".encode()).fetchall()]
        with con.cursor().copy(f"COPY (SELECT {names} FROM t ORDER BY n) TO STDOUT (FORMAT binary)".encode()) as copy:
            data = b"".join(bytes(chunk) for chunk in copy)
    found = split(np.frombuffer(data, np.uint8)[len(SIGNATURE) :], len(values), len(columns))
    return said, column(values.type, *found)


def whole(kind: pa.DataType, *numbers: int) -> pa.Array:
    return pa.array([*numbers, None], pa.int32() if kind.bit_width == 32 else pa.int64()).view(kind)


def decimals(kind: pa.DataType, *texts: str) -> pa.Array:
    return pa.array([*map(Decimal, texts), None], kind)


LEAST, MOST = -(1 << 63), (1 << 63) - 1
SHOWN = [
    (pa.array([-128, 127, None], pa.int8()), ["-128", "127", None]),
    (pa.array([LEAST, MOST, None]), [str(LEAST), str(MOST), None]),
    (pa.array([0, 2**32 - 1, None], pa.uint32()), ["0", "4294967295", None]),
    (pa.array([0, 1, 9999, 10000, 2**64 - 1, None], pa.uint64()), ["0", "1", "9999", "10000", str(2**64 - 1), None]),
    (pa.array([True, False, None]), ["true", "false", None]),
    (pa.array([-0.0, math.inf, math.nan, 0.1, None]), ["-0", "Infinity", "NaN", "0.1", None]),
    (pa.array([0.1, None], pa.float32()), ["0.1", None]),
    (pa.array([1.5, None], pa.float16()), ["1.5", None]),
    (pa.array(["", "é😀", "NULL", "\\N", None]), ["", "é😀", "NULL", "\\N", None]),
    (pa.array(["a\0b", "\ufdd0", None]), ["a\ufdd00b", "\ufdd01", None]),
    (pa.array([b"", b"\0\xff", None]), ["\\x", "\\x00ff", None]),
    (pa.array([b"ab", None], pa.binary(2)), ["\\x6162", None]),
    (pa.array([date(1, 1, 1), date(9999, 12, 31), None]), ["0001-01-01", "9999-12-31", None]),
    (
        whole(pa.date32(), -2_440_588, -2_440_589, 2_145_042_905, 2_145_042_906, -(2**31), 2**31 - 1),
        ["4714-11-24 BC", "-infinity", "5874897-12-31", "infinity", "-infinity", "infinity", None],
    ),
    (whole(pa.time32("s"), 0, 86_400, -1, 86_401), ["00:00:00", "24:00:00", "00:00:00", "24:00:00", None]),
    (whole(pa.time64("us"), 1, LEAST, MOST), ["00:00:00.000001", "00:00:00", "24:00:00", None]),
    (whole(pa.time64("ns"), 1), ["1", None]),
    (whole(pa.duration("ms"), LEAST, MOST), [str(LEAST), str(MOST), None]),
    (
        whole(pa.timestamp("us"), 0, -210_866_803_200_000_000, -210_866_803_200_000_001, MOST),
        ["1970-01-01 00:00:00", "4714-11-24 00:00:00 BC", "-infinity", "294247-01-10 04:00:54.775807", None],
    ),
    (
        whole(pa.timestamp("s", "UTC"), 1, LEAST, MOST, 9_224_318_015_999, 9_224_318_016_000),
        ["1970-01-01 00:00:01+00", "-infinity", "infinity", "294276-12-31 23:59:59+00", "infinity", None],
    ),
    (whole(pa.timestamp("ms"), 1, LEAST, MOST), ["1970-01-01 00:00:00.001", "-infinity", "infinity", None]),
    (whole(pa.timestamp("ns", "UTC"), LEAST), [str(LEAST), None]),
    (decimals(pa.decimal128(38, 0), "9" * 38, "-" + "9" * 38, "0"), ["9" * 38, "-" + "9" * 38, "0", None]),
    (decimals(pa.decimal128(38, 38), "0." + "9" * 38, "-1E-38"), ["0." + "9" * 38, "-0." + "0" * 37 + "1", None]),
    (decimals(pa.decimal128(4, 2), "12.3", "-0.01", "0"), ["12.30", "-0.01", "0.00", None]),
    (decimals(pa.decimal128(5, -2), "12300", "0"), ["12300", "0", None]),
    (decimals(pa.decimal256(76, 10), "9" * 66 + ".1", "-1.5"), ["9" * 66 + ".1000000000", "-1.5000000000", None]),
    (decimals(pa.decimal256(76, 0), "9" * 76, "-" + "9" * 76), ["9" * 76, "-" + "9" * 76, None]),
    (pa.array([[1, None], [], None]), ["[1, null]", "[]", None]),
    (pa.array([{"a": 'x"\\\n\0\x1f', "b c": None}, None]), ['{"a": "x\\"\\\\\\n\ufdd00\\u001f", "b c": null}', None]),
    (pa.array([[("k", 1.5)], [], None], pa.map_(pa.string(), pa.float64())), ['{"k": 1.5}', "{}", None]),
    (pa.array([[("k", 1), ("k", 2)], [("a", 3)]], pa.map_(pa.string(), pa.int8())),
     ['[["k", 1], ["k", 2]]', '{"a": 3}']),
    (pa.array([[(1, b"\x0a")]], pa.map_(pa.int8(), pa.binary())), ['[[1, "0a"]]']),
    (pa.array([[-0.0, math.inf, math.nan, 1e300, 5e-324]]), None),
    (pa.array([[Decimal("1.50"), None]], pa.list_(pa.decimal256(60, 2))), ["[1.50, null]"]),
    (pa.array([["a", None], None], pa.large_list(pa.large_string())), ['["a", null]', None]),
    (pa.array([[1, 2], None], pa.list_(pa.int8(), 2)), ["[1, 2]", None]),
    (pa.array([["x"], None], pa.list_(pa.dictionary(pa.int8(), pa.string()))), ['["x"]', None]),
    (pa.array([{"t": 1, "d": 2, "u": 2**64 - 1, "f": 0.1}], pa.struct(
        [("t", pa.timestamp("us", "UTC")), ("d", pa.date32()), ("u", pa.uint64()), ("f", pa.float32())])),
     ['{"d": 2, "f": 0.1, "t": 1, "u": 18446744073709551615}']),
    (pa.array(["a", "b", "a", None]).dictionary_encode(), ["a", "b", "a", None]),
    (pa.nulls(2), [None, None]),
]  # fmt: skip


def equal(left: pa.Array, right: pa.Array) -> bool:
    if pa.types.is_floating(left.type) or left.type == pa.list_(pa.float64()):
        return repr(left.to_pylist()) == repr(right.to_pylist())
    if pa.types.is_dictionary(left.type):
        return left.type == right.type and left.to_pylist() == right.to_pylist()
    return left.equals(right)


@pytest.mark.parametrize(("values", "shown"), SHOWN, ids=lambda part: str(getattr(part, "type", "")))
def test_postgres_holds_the_values_and_they_come_back(values, shown):
    said, back = through(values)
    assert shown is None or said == shown
    assert equal(back, values)
    back.validate()


@pytest.mark.parametrize(("values", "shown"), SHOWN, ids=lambda part: str(getattr(part, "type", "")))
def test_a_slice_is_encoded_as_it_is_without_what_stands_around_it(values, shown):
    sliced = values.slice(1) if len(values) > 1 else values.slice(0, 0)
    around = pa.concat_arrays([values, values]).slice(len(values) - 1, 2)
    for part in (sliced, around):
        assert equal(through(part)[1], part)


def test_random_decimals_of_any_scale():
    dice = random.Random(5)
    for digits, scale in ((38, 0), (38, 7), (38, 38), (20, 3), (76, 0), (76, 41), (76, 76), (9, 2), (12, -5)):
        numbers = [dice.randint(-(10**size), 10**size) // 10 ** dice.randint(0, size) for size in range(digits)] * 5
        numbers += [dice.randint(0, 9) * 10000**part for part in range(digits // 4)]
        texts = [f"{number}E{-scale}" for number in numbers]
        kind = pa.decimal256(digits, scale) if digits > 38 else pa.decimal128(digits, scale)
        values = decimals(kind, *texts)
        said, back = through(values)
        assert [Decimal(text) for text in said[:-1]] == list(map(Decimal, texts))
        assert back.equals(values)


def test_random_texts_keep_every_character():
    dice = random.Random(7)
    alphabet = ["\0", "\ufdd0", "0", "1", "\\", '"', "\x01", "\x7f", "é", "\uffff", "😀", "\n"]
    texts = pa.array(["".join(dice.choices(alphabet, k=dice.randint(0, 9))) for _ in range(2000)])
    assert unescape_texts(escape_texts(texts)).equals(texts)
    assert len(set(escape_texts(texts).to_pylist())) == len(set(texts.to_pylist()))
    assert through(texts)[1].equals(texts)
    nested = pa.array([[text] for text in texts.to_pylist()])
    assert through(nested)[1].equals(nested)


def test_many_columns_and_no_rows():
    assert encode([cells(pa.array([], pa.int64()))]) == SIGNATURE + b"\xff\xff"
    empty = pa.array([], pa.decimal128(5, 2))
    assert through(empty)[1].equals(empty)


def test_names_of_63_bytes_stay_and_longer_ones_stay_apart():
    assert physical("x" * 63) == "x" * 63
    long = ["x" * 64, "x" * 65, "é" * 32, "é" * 33, "😀" * 16 + "a", "😀" * 16 + "b", "ctid", "xmin"]
    found = [physical(name) for name in long]
    assert len(set(found)) == len(long) and not set(found) & set(long)
    assert all(len(name.encode()) <= MOST_BYTES for name in found)


def test_conversions_that_sql_makes_are_told_from_those_that_arrow_has_to_make():
    assert converted(pa.int16(), pa.int64(), "v") == "v::bigint"
    assert converted(pa.timestamp("s"), pa.timestamp("us"), "v") == "v"
    assert converted(pa.list_(pa.float32()), pa.list_(pa.float64()), "v") is None
    assert same_json(pa.struct([("a", pa.int8())]), pa.struct([("a", pa.int64()), ("b", pa.string())]))
    assert not same_json(pa.list_(pa.duration("s")), pa.list_(pa.duration("ms")))
