"""Every type of Postgres comes out the same from the copy and from the log, and as SELECT has it."""

import datetime

import pytest
from support import postgres_kinds as kinds
from support.postgres_source import SourceDatabase

from millrace.pipelines.cli.verify import verify_job
from millrace.pipelines.execution.plan_tables import plan_tables
from millrace.transforms.proof.report import Outcome, Verdict

LISTS = "i2s, i4s, i8s, ts, nums, days, bools, f8s, moments, m3s, zones, dos::numeric[]"
PLAIN = "mon::numeric, mon2::numeric, d2, do2, n20, day, m, m0, z, clock, c3, i2, i8, f4, f8, ok, bin, bp, o"


@pytest.fixture
def shop(tmp_path):
    found = SourceDatabase(tmp_path)
    for statement in kinds.STATEMENTS:
        found.sql(statement)
    found.sql(kinds.create("kinds", kinds.SHARED | kinds.OURS))
    yield found
    found.close()


def fill(shop, first):
    shop.sql(kinds.insert("kinds", first, kinds.SHARED | kinds.OURS))
    shop.sql(kinds.insert("kinds", first + 1, kinds.ODD))
    shop.sql(kinds.insert("kinds", first + 2, {}))


def test_every_type(shop):
    fill(shop, 1)
    job = shop.job("public.kinds")
    done = shop.run(job)
    assert not done.failed, done.tables["kinds"].error
    fill(shop, 11)
    assert shop.run(job).total("dead") == 0
    rows = {row[0]: row[1:] for row in shop.rows("SELECT * EXCLUDE (_millrace_position) FROM kinds")}
    assert [repr(rows[n]) for n in (11, 12, 13)] == [repr(rows[n]) for n in (1, 2, 3)]
    for columns in (LISTS, PLAIN):
        ours = columns.replace("::numeric[]", "").replace("::numeric", "")
        query = "SELECT {} FROM kinds WHERE id = 11"
        assert shop.rows(query.format(ours)) == shop.sql(query.format(columns))
    (report,) = verify_job(job)
    assert report.outcome is Outcome.EQUAL, report.examples
    assert report.counts[Verdict.MATCH] == 6
    # The catalog gives each column the type that changes have: a plan finds nothing to do.
    (plan,) = plan_tables(job)
    assert plan.changes == []


def test_forms_that_select_has_not(shop):
    """As Debezium 3.3 sent them: bits as little-endian bytes, intervals in microseconds, a point with its WKB."""
    fill(shop, 1)
    shop.run(shop.job("public.kinds"))
    bits = shop.rows("SELECT b1, b3, b12, vb, vb9 FROM kinds ORDER BY id")
    assert bits[0] == (True, b"\x05", b"3\x0b", b"\x01", b"\x05") and bits[1][2:4] == (b"", b"")
    assert shop.rows("SELECT iv, iv2, ivs FROM kinds WHERE id = 1") == [
        (37091106789000, -2467800500000, [86_400_000_000, None])
    ]
    assert shop.rows("SELECT tz, tz3 FROM kinds WHERE id = 1") == [("08:00:00.5Z", "06:30:00.123Z")]
    assert shop.rows("SELECT hs FROM kinds WHERE id = 1") == [('{"a":"1\\"x\\n","b":null}',)]
    ((point,),) = shop.rows("SELECT pt FROM kinds WHERE id = 1")
    assert (point["x"], point["y"], point["srid"]) == (1.5, -2.0, None) and point["wkb"][:5] == b"\x01\x01\0\0\0"
    texts = "n, n20__text, day__text, m__text, m0__text, z__text, tz, clock__text, c3__text, iv__text, di__text"
    assert shop.rows(f"SELECT {texts} FROM kinds WHERE id = 2") == [
        ("Infinity", "NaN", "infinity", "infinity", "-0043-03-15T00:00:00", "-infinity", "00:00:00Z",
         "24:00:00", "24:00:00", "178000000 years", "{{1,2},{3,4}}")
    ]  # fmt: skip
    assert shop.rows("SELECT days, days__text, nums__text, i4s FROM kinds WHERE id = 2") == [
        ([None, datetime.date(2024, 1, 1), None], '{"0": "-infinity", "2": "+12024-01-01"}', '{"0": "NaN"}', [1, 2, 3])
    ]


def test_keys_of_all_types_take_large_values_along(shop):
    """A key change whose large value was not sent finds it by the key before, whatever type that has."""
    key = {
        "day date": "'2024-02-29'", "m timestamp(3)": "'2024-01-01 10:00:00.5'", "z timestamptz": "'2024-01-01'",
        "n numeric(30,2)": "1234.50", "u uuid": "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "clock time": "'12:00'",
        "c char(3)": "'a'",
    }  # fmt: skip
    names = ", ".join(name.split()[0] for name in key)
    shop.sql(f"CREATE TABLE keyed ({', '.join(key)}, body text, PRIMARY KEY ({names}))")
    shop.sql("ALTER TABLE keyed ALTER body SET STORAGE EXTERNAL")
    shop.sql(f"INSERT INTO keyed VALUES ({', '.join(key.values())}, repeat('x', 9000))")
    job = shop.job("public.keyed")
    shop.run(job)
    shop.sql("UPDATE keyed SET day = day + 1, n = n + 1, c = 'b'")
    shop.run(job)
    query = f"SELECT {names}, body FROM keyed"
    assert shop.rows(query) == [tuple(map(_plain, row)) for row in shop.sql(query)]


def _plain(value):
    return str(value) if type(value).__name__ == "UUID" else value
