"""Engines that are not ours read the same rows: after updates, deletes, growth and maintenance."""

import pytest
from support import delta_engines
from support.lake_history import SCHEMA, SELECT, history
from support.targets import Target


@pytest.mark.parametrize("maintained", [False, True])
def test_duckdb_reads_what_we_wrote(tmp_path, maintained):
    target = Target("delta", tmp_path, schema=SCHEMA)
    rows = history(target)
    if maintained:
        target.sink.maintain("orders")
    assert sorted(delta_engines.duckdb_rows(tmp_path / "lake" / "orders", SELECT["duckdb"])) == rows
    target.close()
