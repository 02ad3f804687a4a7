"""Any history of commits leaves the table that a dictionary with the position rule would hold."""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.targets import MIRRORS, Change, Target, delete, position

from millrace.transforms.sinks.shared.guarantees import Promise

WIDE = pa.schema([("id", pa.int64()), ("v", pa.string()), ("w", pa.int64())])
EXAMPLES = 30
NARROW = pa.schema([("id", pa.int32()), ("v", pa.string())])


@dataclass
class Oracle:
    """Rows and tombstones by key, each with its position; nothing at or below `floor` counts.

    With `ties`, a change at the position that its key has already replaces it.
    """

    ties: bool = False
    rows: dict[int, tuple[int, dict]] = field(default_factory=dict)
    graves: dict[int, int] = field(default_factory=dict)
    floor: int = -1

    def truncate(self, at: int) -> None:
        self.floor = max(self.floor, at)
        self.rows = {key: row for key, row in self.rows.items() if row[0] > self.floor}

    def apply(self, change: Change) -> bool:
        key = change.row["id"]
        at, old = self.rows.get(key, (-1, {}))
        held = max(at, self.graves.get(key, -1))
        if change.at <= self.floor or change.at < held or (change.at == held and not self.ties):
            return False
        self.graves.pop(key, None)
        if change.op:
            self.rows.pop(key, None)
            self.graves[key] = change.at
        else:
            kept = {name: old.get(name) for name in change.unavailable or ()}
            self.rows[key] = (change.at, {"v": None, "w": None, **change.row, **kept})
        return True


@st.composite
def deltas(draw) -> tuple[pa.Schema, list[Change]]:
    schema = draw(st.sampled_from([WIDE, NARROW]))
    names = [name for name in schema.names if name != "id"]
    changes = []
    for key in draw(st.sets(st.integers(0, 6), max_size=6)):
        at = draw(st.integers(0, 40))
        if draw(st.integers(0, 3)) == 0:
            changes.append(delete(at, id=key))
            continue
        row = {"id": key, "v": draw(st.sampled_from([None, "", "a", "b"]))}
        if "w" in names:
            row["w"] = draw(st.none() | st.integers(0, 3))
        hidden = draw(st.lists(st.sampled_from(names), unique=True)) if draw(st.booleans()) else None
        changes.append(Change({**row, **dict.fromkeys(hidden or ())}, at, 0, 0, hidden))
    return schema, changes


COMMITS = st.lists(st.tuples(deltas(), st.none() | st.integers(0, 30), st.integers(1, 3)), max_size=8)


@pytest.mark.parametrize("kind", MIRRORS)
def test_any_history_ends_in_the_table_of_the_oracle(kind):
    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
    @given(history=COMMITS)
    def check(history) -> None:
        with tempfile.TemporaryDirectory() as folder:
            target = Target(kind, Path(folder))
            try:
                replay(target, history)
            finally:
                target.close()

    check()


def replay(target: Target, history) -> None:
    oracle, made = Oracle(ties=Promise.TIES in target.exceptions), False
    for (schema, changes), floor, parts in history:
        floor = None if floor is None or floor % 3 else floor
        staged = [target.stage(*changes[part::parts], schema=schema) for part in range(parts)]
        oracle.truncate(-1 if floor is None else floor)
        expected = sum([oracle.apply(change) for change in changes])
        settled = target.commit(staged, truncate=None if floor is None else position(floor))
        assert target.counts(settled) == (expected, len(changes) - expected)
        made = True
    if made:
        rows = {row["id"]: row for row in target.read().to_pylist()}
        assert {key: {"w": None, **row} for key, row in rows.items()} == {
            key: row for key, (_, row) in oracle.rows.items()
        }
