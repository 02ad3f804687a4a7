"""Every type of MySQL and of MariaDB: the same from the copy and from the log, and what SELECT gives."""

import pytest
from support.mysql_server import KINDS, server
from support.mysql_source import SourceDatabase

from millrace.pipelines.cli.verify import verify_job
from millrace.transforms.proof.report import Outcome, Verdict

NUMBERS = {
    "t": ("tinyint", "-128", "127"),
    "tu": ("tinyint unsigned", "255", "0"),
    "flag": ("bool", "1", "0"),
    "s": ("smallint", "-32768", "32767"),
    "m": ("mediumint", "-8388608", "8388607"),
    "mu": ("mediumint unsigned", "16777215", "1"),
    "i": ("int", "-2147483648", "2147483647"),
    "iu": ("int unsigned", "4294967295", "7"),
    "l": ("bigint", "-9223372036854775808", "9223372036854775807"),
    "lu": ("bigint unsigned", "18446744073709551615", "9223372036854775807"),
    "n": ("decimal(12,3)", "-123456789.125", "0.001"),
    "wide": ("decimal(38,10)", "-1234567890123456789012345678.0123456789", "1"),
    "f": ("float", "0.1", "-3.4e38"),
    "d": ("double", "1e300", "-0.1"),
    "y": ("year", "2155", "0"),
    "b1": ("bit(1)", "b'1'", "b'0'"),
    "b10": ("bit(10)", "b'1000000001'", "b'1'"),
}
TEXTS = {
    "c": ("char(5)", "'ab'", "''"),
    "v": ("varchar(300)", "repeat('ä', 300)", "'x\\'\\\\'"),
    "latin": ("varchar(20) CHARACTER SET latin1", "'Grüße €'", "'a'"),
    "wide_text": ("varchar(20) CHARACTER SET utf16", "'😀 wide'", "''"),
    "tt": ("tinytext", "'t'", "''"),
    "lt": ("longtext", "repeat('long ', 20000)", "'😀'"),
    "bin": ("binary(6)", "'a'", "x'00ff00'"),
    "vb": ("varbinary(300)", "x'00010000'", "''"),
    "bl": ("longblob", "repeat(x'00ff', 40000)", "''"),
    "e": ("enum('small','größer','x,y')", "'größer'", "'x,y'"),
    "st": ("set('a','b','c d')", "'c d,a'", "''"),
    "g": ("geometry", "ST_GeomFromText('POINT(1 2)', 0)", "ST_GeomFromText('LINESTRING(0 0, 1 1)', 0)"),
}
MOMENTS = {
    "da": ("date", "'2024-02-29'", "'1000-01-01'"),
    "ti": ("time", "'23:59:59'", "'00:00:00'"),
    "ti6": ("time(6)", "'10:00:00.000001'", "'838:59:59.000000'"),
    "neg": ("time(3)", "'-00:00:01.5'", "'-838:59:59'"),
    "dt": ("datetime", "'2024-01-01 10:00:00'", "'9999-12-31 23:59:59'"),
    "dt3": ("datetime(3)", "'2024-01-01 10:00:00.123'", "'1969-12-31 23:59:59.999'"),
    "dt6": ("datetime(6)", "'2024-01-01 10:00:00.123456'", "'1000-01-01 00:00:00.000001'"),
    "ts": ("timestamp NULL", "'2024-06-01 12:00:00'", "'1970-01-01 00:00:01'"),
    "ts6": ("timestamp(6) NULL", "'2024-06-01 12:00:00.654321'", "'2038-01-19 03:14:07.999999'"),
}
JSON = {"j": ("json", """'{"k": [1, null, true, 1.5, "ü\\\\n"], "a": {"b": {}}}'""", "'null'")}
COLUMNS = {**NUMBERS, **TEXTS, **MOMENTS, **JSON}
ODD = {
    "zero": ("date", "'0000-00-00'"),
    "month": ("date", "'2024-00-10'"),
    "moment": ("datetime(3)", "'2024-01-00 10:00:00.120'"),
    "stamp": ("timestamp NULL", "'0000-00-00 00:00:00'"),
}


@pytest.fixture(params=sorted(KINDS))
def shop(request, tmp_path):
    found = SourceDatabase(tmp_path, server(request.param))
    yield found
    found.close()


def proved(shop, job):
    (summary,) = shop.run(job).tables.values()
    assert summary.error is None
    (report,) = verify_job(job)
    assert report.outcome is Outcome.EQUAL, (report.error, report.examples)
    return report.counts[Verdict.MATCH]


def make(shop, table, columns):
    declared = ", ".join(f"{name} {kind[0]}" for name, kind in columns.items())
    shop.sql(f"CREATE TABLE {table} (id int PRIMARY KEY, {declared}) CHARACTER SET utf8mb4")


def insert(shop, table, number, values):
    shop.sql("SET sql_mode = ''", f"INSERT INTO {table} VALUES ({number}, {', '.join(values)})")


def assert_the_same(shop, table, of):
    """Rows from the log are those from the copy, whose numbers are 10 lower."""
    found = {row[0]: row[1:] for row in shop.rows(f"SELECT * EXCLUDE (_millrace_position) FROM {table}")}
    assert [found[number + 10] for number in of] == [found[number] for number in of]
    return found


def test_every_type_from_the_copy_and_from_the_log(shop):
    make(shop, "kinds", COLUMNS)
    job = shop.job("kinds")
    for place in (1, 2):
        insert(shop, "kinds", place, [kind[place] for kind in COLUMNS.values()])
    shop.sql("INSERT INTO kinds (id) VALUES (3)")
    assert proved(shop, job) == 3
    shop.sql(*(f"INSERT INTO kinds SELECT {number + 10}, {', '.join(COLUMNS)} FROM kinds WHERE id = {number}"
               for number in (1, 2, 3)))  # fmt: skip
    assert proved(shop, job) == 6
    assert_the_same(shop, "kinds", (1, 2, 3))
    plain = [
        name for name in COLUMNS if name not in ("lu", "ti", "ti6", "neg", "b10", "b1", "g", "ts", "ts6", "flag", "j")
    ]
    query = f"SELECT {', '.join(name for name in plain if name not in ('st', 'f'))} FROM kinds ORDER BY id"
    assert shop.rows(query) == shop.sql(query)
    assert shop.rows("SELECT lu, lu__text, flag, b1, b10, j FROM kinds WHERE id = 11") == [
        (None, "18446744073709551615", 1, True, b"\x01\x02", shop.sql("SELECT j FROM kinds WHERE id = 1")[0][0])
    ]
    assert shop.rows("SELECT ti6__text, neg__text FROM kinds WHERE id = 2") == [("838:59:59", "-838:59:59")]


def test_dates_that_no_calendar_has(shop):
    make(shop, "odd", ODD)
    job = shop.job("odd")
    insert(shop, "odd", 1, [value for _, value in ODD.values()])
    assert proved(shop, job) == 1
    insert(shop, "odd", 11, [value for _, value in ODD.values()])
    assert proved(shop, job) == 2
    assert_the_same(shop, "odd", (1,))
    assert shop.rows("SELECT zero, zero__text, month__text, moment__text, stamp__text FROM odd WHERE id = 1") == [
        (None, "0000-00-00", "2024-00-10", "2024-01-00T10:00:00.12", "0000-00-00T00:00:00Z")
    ]
