"""Looking up the target's rows of a few keys, as rare key changes need it."""

import datetime

import pyarrow as pa
import pytest
from support.targets import Target, upsert

from millrace.transforms.sinks.shared.lookup import TargetRows

DAY = datetime.date(2022, 1, 8)
CASES = {
    "integers": (pa.int32(), [1, 2, 3], {(2,), (1 << 70,), ("2",), (None,)}, [2]),
    "texts": (pa.string(), ["a", "b", "é"], {("b",), ("é",), ("\ud800",), (7,)}, ["b", "é"]),
    "dates, as numbers": (pa.date32(), [DAY], {(19_000,), (1,)}, [DAY]),
}


@pytest.mark.parametrize("case", CASES)
def test_rows_are_found_by_the_keys_that_headers_name(case, tmp_path):
    kind, values, keys, expected = CASES[case]
    target = Target("duckdb", tmp_path, schema=pa.schema([("id", kind), ("v", pa.string())]))
    target.apply(*(upsert(1, id=value, v=str(value)) for value in values))
    found = TargetRows(target.sink, "orders").find_named(["id"], keys)
    target.close()
    assert [row["id"] for row in found.values()] == expected
    assert set(found) <= keys


def test_there_are_no_rows_of_a_table_that_is_not_there(tmp_path):
    target = Target("duckdb", tmp_path)
    assert TargetRows(target.sink, "orders").find_named(["id"], {(1,)}) == {}
