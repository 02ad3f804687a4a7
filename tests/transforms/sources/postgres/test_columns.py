"""Texts that Postgres writes, to columns."""

import datetime
import struct
from decimal import Decimal

import numpy as np
import pytest

from millrace.transforms.sources.postgres.blocks import Column
from millrace.transforms.sources.postgres.columns import column_of


def read(kind, texts, modifier=-1):
    """The values and the texts beside them; None is NULL."""
    raw = [None if text is None else text.encode() for text in texts]
    sizes = np.array([-1 if text is None else len(text) for text in raw], np.int64)
    starts = np.cumsum(np.maximum(sizes, 0)) - np.maximum(sizes, 0)
    data = np.frombuffer(b"".join(text or b"" for text in raw) + b"\0", np.uint8)
    values, beside = column_of(data, starts, sizes, Column("c", kind, modifier))
    return values.to_pylist(), None if beside is None else beside.to_pylist()


def numeric(precision, scale):
    return (precision << 16 | scale) + 4


@pytest.mark.parametrize("precision", [18, 19, 38, 39, 76])
def test_decimals_are_exact_whatever_way_they_take(precision):
    texts = ["9" * (precision - 2) + ".99", "-0.01", None, "0.00"]
    values, beside = read("numeric", texts, numeric(precision, 2))
    assert values == [None if text is None else Decimal(text) for text in texts] and beside is None
    values, beside = read("numeric", [*texts, "NaN", "-Infinity"], numeric(precision, 2))
    assert values[:4] == [None if text is None else Decimal(text) for text in texts] and values[4:] == [None, None]
    assert beside[4:] == ["NaN", "-Infinity"]


def test_a_scale_that_changed_between_the_catalog_and_the_copy_is_no_other_number():
    assert read("numeric", ["1.500"], numeric(8, 2))[0] == [Decimal("1.50")]
    with pytest.raises(ValueError):
        read("numeric", ["1.505"], numeric(8, 2))


def test_dates_and_moments_of_all_years():
    values, beside = read("date", ["1970-01-01", "0001-01-01", "9999-12-31", "infinity", None])
    assert values[:3] == [datetime.date(1970, 1, 1), datetime.date(1, 1, 1), datetime.date(9999, 12, 31)]
    assert beside == [None, None, None, "infinity", None]
    assert read("timestamptz", ["294276-12-31 23:59:59.5+00", "2024-01-01 00:00:00+00"])[1] == [
        "+294276-12-31T23:59:59.5Z", None
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("00:00:00", 0),
        ("-00:00:01.5", -1_500_000),
        ("1 mon", 2_629_800_000_000),
        ("-1 years -2 mons +3 days -04:05:06.000007", -14 * 2_629_800_000_000 + 3 * 86_400_000_000 - 14_706_000_007),
        ("838:59:59", 3_020_399_000_000),
    ],
)
def test_intervals(text, micros):
    values, beside = read("interval", [text])
    assert (values[0] // datetime.timedelta(microseconds=1), beside) == (micros, None)


def test_intervals_that_do_not_fit_are_told():
    assert read("interval", ["178000000 years", "infinity", "-infinity"]) == (
        [None] * 3, ["178000000 years", "infinity", "-infinity"]
    )  # fmt: skip


def test_arrays():
    assert read("text[,]", ['{a,"b,{}\\"\\\\",NULL,"NULL",""}', "{}", None])[0] == [
        ["a", 'b,{}"\\', None, "NULL", ""], [], None
    ]  # fmt: skip
    assert read("int4[,]", ["[0:1]={1,2}", "{{1},{2}}", "{3}"]) == ([[1, 2], None, [3]], [None, "{{1},{2}}", None])
    assert read("box[;]", ["{(1,1),(0,0);(2,2),(0,0)}"])[0] == [["(1,1),(0,0)", "(2,2),(0,0)"]]
    assert read("date[,]", ["{infinity,1970-01-01}", "{{1970-01-01}}"])[1] == ['{"0": "infinity"}', "{{1970-01-01}}"]


def test_shapes_of_postgis():
    """EWKB of SRID=4326;POINT(1 2), in both byte orders, and a point without SRID."""
    little = struct.pack("<BIIdd", 1, 0x20000001, 4326, 1, 2)
    big = struct.pack(">BIIdd", 0, 0x20000001, 4326, 1, 2)
    bare = struct.pack("<BIdd", 1, 1, 1, 2)
    values, _ = read("geometry", [little.hex().upper(), big.hex(), bare.hex(), None])
    assert values == [
        {"wkb": little, "srid": 4326}, {"wkb": big, "srid": 4326}, {"wkb": bare, "srid": None}, None
    ]  # fmt: skip
