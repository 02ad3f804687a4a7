"""Read the target into a pandas frame and count: ten rows, and no two of one key. Needs pandas."""

from pathlib import Path

import duckdb

TARGET = Path(__file__).parent / "data_changes.duckdb"

frame = duckdb.connect(str(TARGET), read_only=True).sql("SELECT id, number FROM data_changes ORDER BY id").df()
print(frame.to_string(index=False))
assert len(frame) == frame["id"].nunique() == 10, f"{len(frame)} rows instead of 10"
